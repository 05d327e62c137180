//! Sizes and ages as people write them: `10MB`, `1.5 GiB`; `30d`, `12h`.

use std::time::Duration;

/// Bytes of `812`, `10KB`, `1.5 GiB`: KB counts 1000, KiB counts 1024; nothing for what is no size.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let number = number.replace('_', "");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    (bytes.is_finite() && (0.0..9e15).contains(&bytes)).then_some(bytes as u64)
}

/// The time of `30d`, `2w`, `12h`, `45m`, `90s`; nothing for what is none. A number alone is none: nobody knows of what.
pub fn parse_age(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let seconds: u64 = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_need_a_unit() {
        let read = ["0s", "90s", "45m", "12h", "30d", "2w", "1 d"].map(parse_age);
        let seconds = [0, 90, 2700, 43_200, 2_592_000, 1_209_600, 86_400];
        assert_eq!(read, seconds.map(|seconds| Some(Duration::from_secs(seconds))));
        for wrong in ["", "30", "d", "-1d", "1.5d", "3 months", "99999999999999999d"] {
            assert_eq!(parse_age(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        let read = ["0", "812", "10KB", "10 MB", "1.5GiB", "2gib", "1_000"].map(parse_size);
        let bytes = [0, 812, 10_000, 10_000_000, 1_610_612_736, 2_147_483_648, 1000];
        assert_eq!(read, bytes.map(Some));
        for wrong in ["", "MB", "1 XB", "-1", "1.2.3", "99999999999999999999GB", ".", "10M"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
