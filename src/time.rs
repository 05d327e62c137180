//! The clock, and how its times are shown. The one owner of "now", which tests fix with `PIPE_NOW`.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970: every time on disk.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// The present time.
pub fn now() -> Millis {
    static FIXED: OnceLock<Option<u64>> = OnceLock::new();
    if let Some(fixed) = FIXED.get_or_init(crate::env::fixed_now) {
        return Millis(*fixed);
    }
    Millis(since_epoch().as_millis() as u64)
}

/// Nanoseconds since 1970 by the real clock: for comparing with stamps of files, never fixed.
pub fn now_ns() -> i128 {
    since_epoch().as_nanos() as i128
}

#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Millis {
    /// `12:04:11`, local time.
    pub fn clock(self) -> String {
        self.local("%H:%M:%S")
    }

    /// `12:04:11.3`, local time.
    pub fn clock_tenths(self) -> String {
        format!("{}.{}", self.clock(), self.0 % 1000 / 100)
    }

    /// `2026-11-23 12:04:11`, local time.
    pub fn date_time(self) -> String {
        self.local("%Y-%m-%d %H:%M:%S")
    }

    /// The time that a text names: so long before `now` (`30m`, `2h`, `3d`, `1w`), or a day or moment in local time
    /// (`2026-11-23`, `2026-11-23 14:00`).
    pub fn parse_since(text: &str, now: Millis) -> Option<Millis> {
        let text = text.trim();
        let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
        let span = units.iter().find_map(|(unit, seconds)| {
            let count: u64 = text.strip_suffix(*unit)?.trim_end().parse().ok()?;
            count.checked_mul(seconds * 1000)
        });
        if let Some(span) = span {
            return Some(Millis(now.0.saturating_sub(span)));
        }
        let zone = jiff::tz::TimeZone::system();
        let moment = match text.parse::<jiff::civil::DateTime>() {
            Ok(moment) => moment,
            Err(_) => text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
        };
        let time = moment.to_zoned(zone).ok()?.timestamp().as_millisecond();
        u64::try_from(time).ok().map(Millis)
    }

    /// The time that passed from `earlier` until now.
    pub fn since(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    fn local(self, format: &str) -> String {
        let zone = jiff::tz::TimeZone::system();
        match jiff::Timestamp::from_millisecond(self.0 as i64) {
            Ok(time) => time.to_zoned(zone).strftime(format).to_string(),
            Err(_) => String::from("?"),
        }
    }
}
