//! Charts, drawn on the server as SVG. What they show is also a table, for who does not see them.

use std::fmt::Write as _;

use super::words::grouped;
use crate::clock::Timestamp;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 32.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 10.0;

/// A bar for each day. `id` tells the chart from others of the page.
#[expect(clippy::cast_precision_loss, reason = "a drawing is no account")]
pub(super) fn bars(id: &str, what: &str, days: &[(Timestamp, i64)]) -> String {
    let most = days.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let step = step_for(most);
    let top = (most.max(1) + step - 1) / step * step;
    let height = HEIGHT - TOP - BOTTOM;
    let y = |count: i64| TOP + height * (1.0 - count as f64 / top as f64);
    let pitch = (WIDTH - LEFT) / days.len().max(1) as f64;
    let total = grouped(days.iter().map(|(_, count)| count).sum());
    let mut svg = format!(
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-title"><title id="{id}-title">{what} a day in {} days: {total} in all, {} at the most</title>"#,
        days.len(),
        grouped(most)
    );
    // Writing to a String does not fail.
    for line in (0..=top).step_by(usize::try_from(step).unwrap_or(1)) {
        let at = y(line);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{LEFT} {at:.1}H{WIDTH}"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 6.0,
            at + 4.0,
            short(line)
        );
    }
    for (index, (day, count)) in days.iter().enumerate() {
        let x = LEFT + pitch * index as f64;
        let date = day.day();
        let _ = write!(
            svg,
            r#"<g><title>{date}: {}</title><rect class="hit" x="{x:.1}" y="{TOP}" width="{pitch:.1}" height="{height}"/>"#,
            grouped(*count)
        );
        if *count > 0 {
            let (bar, left) = ((pitch - 4.0).max(1.0), x + 2.0);
            let tall = (height * *count as f64 / top as f64).max(2.0);
            let _ = write!(
                svg,
                r#"<rect class="bar" x="{left:.1}" y="{:.1}" width="{bar:.1}" height="{tall:.1}" rx="2"/>"#,
                TOP + height - tall
            );
        }
        svg.push_str("</g>");
        if (days.len() - 1 - index).is_multiple_of(7) {
            let (at, anchor) = if index + 1 == days.len() { (WIDTH, "end") } else { (x + pitch / 2.0, "middle") };
            let _ = write!(
                svg,
                r#"<text x="{at:.1}" y="{}" text-anchor="{anchor}">{}</text>"#,
                HEIGHT - 5.0,
                date.strftime("%-d %b")
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The distance of the grid's lines: 1, 2 or 5 with zeros, so that there are two to five.
fn step_for(most: i64) -> i64 {
    let mut unit = 1;
    loop {
        for step in [unit, 2 * unit, 5 * unit] {
            if most <= 4 * step {
                return step;
            }
        }
        unit *= 10;
    }
}

/// A number as short as an axis needs it: `1.5k`, `20k`, `3M`.
fn short(number: i64) -> String {
    let (value, unit) = match number {
        0..1000 => return number.to_string(),
        1000..1_000_000 => (number / 100, "k"),
        _ => (number / 100_000, "M"),
    };
    if value % 10 == 0 { format!("{}{unit}", value / 10) } else { format!("{}.{}{unit}", value / 10, value % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_a_few_round_lines() {
        assert_eq!([0, 1, 4, 5, 9, 17, 99, 4000, 900_000].map(step_for), [1, 1, 1, 2, 5, 5, 50, 1000, 500_000]);
        assert_eq!([0, 999, 1000, 1500, 20_000, 2_500_000].map(short), ["0", "999", "1k", "1.5k", "20k", "2.5M"]);
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows_and_stays_within_its_frame() {
        let days: Vec<_> = (0..30).map(|day| (Timestamp(day * 86_400_000), day * 40)).collect();
        let svg = bars("a", "Enrolments", &days);
        assert!(svg.contains("Enrolments a day in 30 days: 17\u{202f}400 in all, 1\u{202f}160 at the most"));
        assert_eq!(svg.matches(r#"class="bar""#).count(), 29, "a day without any has no bar");
        for y in svg.split(" y=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap()) {
            assert!((0.0..=HEIGHT).contains(&y), "{y}");
        }
        assert!(bars("b", "Nothing", &[]).ends_with("</svg>"));
    }
}
