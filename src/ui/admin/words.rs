//! How the dashboard says times and numbers.

use crate::clock::Timestamp;

/// How long ago, in the largest unit that says something: `just now`, `5 min ago`, `3 h ago`, `12 days ago`, and from a
/// month on the day.
pub(super) fn ago(at: &Timestamp, now: &Timestamp) -> String {
    let seconds = (now.0 - at.0) / 1000;
    match seconds {
        ..0 => in_future(-seconds),
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "yesterday".to_owned(),
        172_800..2_592_000 => format!("{} days ago", seconds / 86_400),
        _ => at.day().to_string(),
    }
}

fn in_future(seconds: i64) -> String {
    match seconds {
        ..60 => "in a moment".to_owned(),
        60..3600 => format!("in {} min", seconds / 60),
        3600..172_800 => format!("in {} h", seconds / 3600),
        _ => format!("in {} days", seconds / 86_400),
    }
}

/// A number with a thin space between thousands.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0 { format!("−{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_largest_unit_that_says_something() {
        let now = Timestamp(1_795_262_400_000);
        let said = |seconds: i64| ago(&Timestamp(now.0 - seconds * 1000), &now);
        assert_eq!([0, 59, 60, 7200].map(said), ["just now", "just now", "1 min ago", "2 h ago"]);
        assert_eq!([86_400, 200_000, 3_000_000].map(said), ["yesterday", "2 days ago", "2026-10-17"]);
        assert_eq!([-30, -600, -7200, -400_000].map(said), ["in a moment", "in 10 min", "in 2 h", "in 4 days"]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1000, 1_234_567, -4321].map(grouped),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567", "−4\u{202f}321"]
        );
    }
}
