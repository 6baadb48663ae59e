//! Time. The only module that asks the machine what time it is; everything else is told.
//!
//! A transaction has one `now` (see [`crate::db::Tx::now`]), so all rows of one operation agree.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::civil::Date;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, as the database stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since 1970, as JWT claims count (RFC 7519 `NumericDate`).
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The calendar day in UTC.
    pub fn day(self) -> Date {
        self.zoned().date()
    }

    /// When a day begins in UTC.
    pub fn of(day: Date) -> Timestamp {
        let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp());
        Timestamp(midnight.map_or(i64::MAX, jiff::Timestamp::as_millisecond))
    }

    /// Reads a day, which begins at midnight in UTC, or a time as RFC 3339 has it.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let time = match text.parse::<Date>() {
            Ok(day) if text.len() == 10 => day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp(),
            _ => text.parse::<jiff::Timestamp>().ok()?,
        };
        Some(Timestamp(time.as_millisecond()))
    }

    fn zoned(self) -> jiff::Zoned {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T20:30:47.123Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.zoned().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Where `now` comes from: the machine, or a test that moves it by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Milliseconds since 1970, moved by the holder of the other handle.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp(jiff::Timestamp::now().as_millisecond()),
            Clock::Manual(ms) => Timestamp(ms.load(Ordering::SeqCst)),
        }
    }
}

/// Measures how long something took, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
