//! The changelog of the partner API by date, made from the version files and from what differs between their documents.

use std::fmt::Write;

use crate::api::openapi;
use crate::api::versions::{ApiDate, CHANGES};

/// The page, in Markdown.
pub fn page() -> String {
    let mut text = "# Changes by API date\n\nThe partner API changes by dates. A key stays on the date of its first request until you move it: see \
        [Upgrade an API date](upgrade-api-date.md). The directory API and sign-in have no dates; what is new there stands in the \
        [release notes](../CHANGELOG.md).\n"
        .to_owned();
    let dates: Vec<ApiDate> = ApiDate::all().collect();
    for (change, pair) in CHANGES.iter().zip(dates.windows(2)) {
        let (date, before) = (pair[0], pair[1]);
        let _ = write!(text, "\n## {}\n\n{}\n\n**Who is affected:** {}\n\n", change.date, change.note, change.affects);
        let _ = writeln!(text, "Seen from {}:\n\n| where | |\n|---|---|", before.as_str());
        for difference in openapi::differences(before, date) {
            let _ = writeln!(text, "| `{}` | {} |", difference.place, difference.what);
        }
    }
    let first = dates.last().map_or("", |date| date.as_str());
    let _ = write!(text, "\n## {first}\n\nThe first date.\n");
    text
}
