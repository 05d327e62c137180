//! How many documents may fail: a number, or a share of those that came. Knows no documents.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// `10` or `5%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowance {
    /// So many documents.
    Count(u64),
    /// So many of a hundred.
    Percent(f64),
}

impl Allowance {
    /// Whether so many failures of so many documents are still allowed.
    pub fn allows(self, failed: u64, of: u64) -> bool {
        match self {
            Allowance::Count(count) => failed <= count,
            Allowance::Percent(percent) => failed as f64 * 100.0 <= percent * of as f64,
        }
    }
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "a number of documents such as 10, or a share such as 5%".to_owned();
        let text = text.trim();
        match text.strip_suffix('%') {
            None => text.parse().map(Allowance::Count).map_err(|_| wanted()),
            Some(share) => {
                let percent = share.trim_end().parse::<f64>().ok();
                percent
                    .filter(|percent| (0.0..=100.0).contains(percent))
                    .map(Allowance::Percent)
                    .ok_or_else(wanted)
            }
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Allowance::Count(count) => write!(f, "{count}"),
            Allowance::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for Allowance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_share_is_allowed_and_not_one_more() {
        let allowance = |text: &str| text.parse::<Allowance>();
        assert!(allowance("2").unwrap().allows(2, 2) && !allowance("2").unwrap().allows(3, 1_000_000));
        assert!(allowance("5%").unwrap().allows(5, 100) && !allowance("5%").unwrap().allows(6, 100));
        assert!(allowance("0").unwrap().allows(0, 0) && allowance("0%").unwrap().allows(0, 0));
        assert_eq!(allowance(" 2.5 % ").unwrap().to_string(), "2.5%");
        for wrong in ["", "x", "-1", "101%", "NaN%", "%", "1.5"] {
            assert!(allowance(wrong).is_err(), "{wrong}");
        }
    }
}
