//! Cells of CSV: what a spreadsheet would run as a formula is written so that it does not, and comes back intact.

use std::borrow::Cow;

/// What a spreadsheet takes for the beginning of a formula, and the wide forms that some take for the same.
const BEGINNINGS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
const MARK: char = '\'';

/// The text as a cell. A mark goes before a formula, before nothing at all (an empty cell is no text), and before what
/// has marks before either, so that taking one away is always right.
pub fn write(text: &str) -> Cow<'_, str> {
    if is_marked(text) { format!("{MARK}{text}").into() } else { text.into() }
}

/// The text of a cell; `None` if it is empty.
pub fn read(cell: &str) -> Option<&str> {
    match cell.strip_prefix(MARK).filter(|rest| is_marked(rest)) {
        Some(rest) => Some(rest),
        None => Some(cell).filter(|cell| !cell.is_empty()),
    }
}

fn is_marked(text: &str) -> bool {
    let bare = text.trim_start_matches(MARK);
    bare.is_empty() || bare.starts_with(BEGINNINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_as_a_formula_and_every_text_comes_back() {
        for text in [
            "=1+1",
            "+12025550123",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "＝1",
            "'=1",
            "''=1",
            "",
            "'",
            "''",
            "'t Hooft",
            "O'Neil",
            "jane",
            " =1",
        ] {
            let cell = write(text);
            assert!(!cell.is_empty() && !cell.starts_with(BEGINNINGS), "{text:?} is written {cell:?}");
            assert_eq!(read(&cell), Some(text), "{cell:?}");
        }
        for formula in ["=1", "+1", "-1", "@A1", "＝1", "＋1", "－1", "＠A1"] {
            assert_eq!(write(formula), format!("'{formula}"));
        }
        assert_eq!((read(""), read("'t Hooft")), (None, Some("'t Hooft")));
    }
}
