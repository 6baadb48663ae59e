//! The rows of a file, whatever its format: CSV with a header, JSON with one object a line, or one JSON list. Knows no
//! fields: a row is an object as the file has it.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::cell;
use super::elements::{Elements, invalid};
use super::records::{Excess, Records};
use crate::db::words;
use crate::error::{Error, Result};
use crate::field::json;

words! {
    /// How a file is written.
    #[derive(clap::ValueEnum)]
    pub enum Format {
        /// Cells with commas, semicolons or tabs between, and a first line that names the columns.
        Csv = "csv",
        /// One JSON object a line.
        Jsonl = "jsonl",
        /// One JSON list of objects, or an object with such a list called `users`.
        Json = "json",
    }
}

impl Format {
    /// The format that a file's name tells.
    pub fn of_name(name: &str) -> Option<Format> {
        let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match ending.as_str() {
            "csv" | "tsv" | "txt" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// The format that a file looks like.
    pub fn of(file: &[u8]) -> Format {
        let start = file.strip_prefix(MARK).unwrap_or(file).trim_ascii_start();
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
        match start.first() {
            Some(b'{') if line.ends_with(b"}") && !has_users(line) => Format::Jsonl,
            Some(b'{' | b'[') => Format::Json,
            _ => Format::Csv,
        }
    }
}

fn has_users(object: &[u8]) -> bool {
    Elements::find(object).is_ok()
}

/// A row as the file has it, or why it is none.
pub type Row = std::result::Result<Map<String, Value>, &'static str>;

/// The byte order mark, which some programs write before the first byte.
pub(super) const MARK: &[u8] = b"\xEF\xBB\xBF";
/// How many bytes a row may have.
pub(super) const LONGEST: usize = 1024 * 1024;
/// Why one that has more is none.
pub(super) const TOO_LONG: &str = "the row is longer than 1 MiB";
/// How many columns a file may have.
pub(super) const MOST_COLUMNS: usize = 1000;

/// The rows of a file, one after the other.
pub struct Rows(Inner);

type Source = BufReader<Box<dyn Read + Send>>;

enum Inner {
    Csv { records: Box<Records<Source>>, header: Vec<String> },
    Lines(Source),
    List(Elements<Source>),
}

impl Rows {
    /// Begins to read.
    ///
    /// # Errors
    /// The file cannot be read, or is not of that format.
    pub fn new(format: Format, source: impl Read + Send + 'static) -> Result<Rows> {
        let mut source: Source = BufReader::with_capacity(64 * 1024, Box::new(source));
        let start = source.fill_buf().map_err(unreadable)?;
        if start.starts_with(MARK) {
            source.consume(MARK.len());
        }
        match format {
            Format::Csv => csv(source),
            Format::Jsonl => Ok(Rows(Inner::Lines(source))),
            Format::Json => Elements::find(source).map(|list| Rows(Inner::List(list))),
        }
    }
}

fn csv(mut source: Source) -> Result<Rows> {
    let delimiter = delimiter(source.fill_buf().map_err(unreadable)?);
    let mut records = Records::new(source, delimiter);
    let header = match records.next()? {
        None => Vec::new(),
        Some(Ok(cells)) => names(&cells)?,
        Some(Err(Excess::Cells)) => return Err(too_many_columns()),
        Some(Err(Excess::Length)) => return Err(refuse("The first line is longer than 1 MiB")),
    };
    Ok(Rows(Inner::Csv { records: Box::new(records), header }))
}

/// The names of columns, of which some may have none. A spreadsheet breaks long ones into lines: those are one line here, with one
/// blank between words, for a form of the dashboard has others come back as something else.
fn names(cells: &[&[u8]]) -> Result<Vec<String>> {
    let mut known = HashSet::with_capacity(cells.len());
    let mut names = Vec::with_capacity(cells.len());
    for cell in cells {
        let text = std::str::from_utf8(cell).map_err(|_| refuse("The first line must name the columns, in UTF-8"))?;
        let is_one_line = !text.trim().contains(char::is_control);
        let name =
            if is_one_line { text.trim().to_owned() } else { text.split_whitespace().collect::<Vec<_>>().join(" ") };
        if !name.is_empty() && !known.insert(name.clone()) {
            return Err(refuse("Two columns have the same name"));
        }
        names.push(name);
    }
    Ok(names)
}

/// What stands most often between the words of the first line, and not within quotes.
fn delimiter(start: &[u8]) -> u8 {
    let (mut quoted, mut before) = (false, b',');
    let outside = start.iter().filter(|byte| {
        // A quote in the midst of a word is a letter, and two are one within quotes.
        quoted = if **byte == b'"' { !quoted && b",;\t\"".contains(&before) } else { quoted };
        before = **byte;
        !quoted
    });
    let mut counts = [0_usize; 256];
    outside.take_while(|byte| **byte != b'\n').for_each(|byte| counts[usize::from(*byte)] += 1);
    // The last of equals: a comma, if there is none at all.
    [b'\t', b';', b','].into_iter().max_by_key(|byte| counts[usize::from(*byte)]).unwrap_or(b',')
}

pub(super) fn refuse(why: &'static str) -> Error {
    Error::bad_request("unreadable_file", why)
}

fn too_many_columns() -> Error {
    refuse("The file has more than 1000 columns")
}

pub(super) fn unreadable(e: std::io::Error) -> Error {
    Error::operator(format!("the file cannot be read: {e}"))
}

/// A row that is written as JSON; `None` if it is not.
fn object(text: &[u8]) -> Option<Row> {
    Some(match json::parse(text) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => Err("the row is not a JSON object"),
        Err(e) if e.code() == "duplicate_key" => Err("the row has a key twice"),
        Err(e) if e.code() == "too_deep" => Err("the row is nested too deep"),
        Err(_) => return None,
    })
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        match &mut self.0 {
            Inner::List(list) => next_element(list).transpose(),
            Inner::Lines(source) => next_line(source).transpose(),
            Inner::Csv { records, header } => next_record(records, header).transpose(),
        }
    }
}

fn next_element(list: &mut Elements<Source>) -> Result<Option<Row>> {
    match list.next()? {
        // Where one is no JSON, nobody knows where the next one begins.
        Some(Ok(text)) => object(text).map(Some).ok_or_else(invalid),
        Some(Err(why)) => Ok(Some(Err(why))),
        None => Ok(None),
    }
}

fn next_record(records: &mut Records<Source>, header: &[String]) -> Result<Option<Row>> {
    Ok(records.next()?.map(|record| match record {
        Ok(record) if record.len() == header.len() => cells(header, &record),
        Ok(_) | Err(Excess::Cells) => Err("the row has more or fewer cells than the first line"),
        Err(Excess::Length) => Err(TOO_LONG),
    }))
}

fn cells(header: &[String], record: &[&[u8]]) -> Row {
    let mut row = Map::with_capacity(header.len());
    for (name, cell) in header.iter().zip(record) {
        let cell = std::str::from_utf8(cell).map_err(|_| "the row is not UTF-8")?;
        if let Some(text) = cell::read(cell) {
            row.insert(name.clone(), text.into());
        }
    }
    Ok(row)
}

/// The next line with something in it.
fn next_line(source: &mut Source) -> Result<Option<Row>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if source.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(None);
        }
        if line.len() == LONGEST && line.last() != Some(&b'\n') {
            source.skip_until(b'\n').map_err(unreadable)?;
            return Ok(Some(Err(TOO_LONG)));
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    Ok(Some(object(&line).unwrap_or(Err("the row is not valid JSON"))))
}

/// What a file has: the names of its columns, and how many rows.
#[derive(Debug, Default)]
pub struct Survey {
    /// Every column that a row has, in the order of their first appearance.
    pub columns: Vec<String>,
    /// How many rows there are.
    pub rows: u64,
}

/// Reads a file to its end.
///
/// # Errors
/// It cannot be read, or has too many columns.
pub fn survey(rows: Rows) -> Result<Survey> {
    let mut survey = Survey::default();
    // The header names columns that may be empty in every row.
    if let Inner::Csv { header, .. } = &rows.0 {
        survey.columns = header.iter().filter(|name| !name.is_empty()).cloned().collect();
    }
    let mut known: HashSet<String> = survey.columns.iter().cloned().collect();
    for row in rows {
        survey.rows += 1;
        for name in row?.iter().flat_map(Map::keys) {
            if !name.is_empty() && !known.contains(name) {
                if known.len() == MOST_COLUMNS {
                    return Err(too_many_columns());
                }
                known.insert(name.clone());
                survey.columns.push(name.clone());
            }
        }
    }
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(format: Format, text: &'static [u8]) -> Vec<Row> {
        Rows::new(format, text).unwrap().map(Result::unwrap).collect()
    }

    fn shown(rows: &[Row]) -> String {
        let show =
            |row: &Row| row.as_ref().map_or_else(|why| (*why).to_owned(), |row| Value::Object(row.clone()).to_string());
        rows.iter().map(show).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn the_same_people_are_read_from_every_format() {
        let people = r#"{"email":"a@b.co","name":"A, \"B\""} | {"email":"c@d.co"}"#;
        for (format, text) in [
            (Format::Csv, &b"\xEF\xBB\xBFemail,name\r\na@b.co,\"A, \"\"B\"\"\"\r\n\r\nc@d.co,\r\n"[..]),
            (Format::Csv, b"email;name\na@b.co;\"A, \"\"B\"\"\"\nc@d.co;"),
            (Format::Csv, b"email;\"name\"\na@b.co;\"A, \"\"B\"\"\"\nc@d.co;"),
            (Format::Csv, b"email\t name \na@b.co\t\"A, \"\"B\"\"\"\nc@d.co\t\n"),
            (Format::Jsonl, b"{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"}\n\n {\"email\":\"c@d.co\"}"),
            (Format::Json, b"[{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"},{\"email\":\"c@d.co\"}]"),
            (Format::Json, b"{\"realm\":\"x\",\"users\":[{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"},{\"email\":\"c@d.co\"}]}"),
        ] {
            assert_eq!(shown(&read(format, text)), people, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_stands_within_quotes_divides_no_columns() {
        let rows = read(Format::Csv, b"\"Name, first\";email\nAnn;a@b.co\n");
        assert_eq!(shown(&rows), r#"{"Name, first":"Ann","email":"a@b.co"}"#);
        let rows = read(Format::Csv, b"\"Name; \"\"first\"\";\nall; of it\",email\nAnn,a@b.co\n");
        assert_eq!(rows[0].as_ref().unwrap().len(), 2);
    }

    #[test]
    fn a_name_in_the_head_that_is_broken_into_lines_is_one_line_with_one_blank_between_words() {
        let rows = read(Format::Csv, b"\" Date\r\n of   birth\",e  mail ,\" \n\"\n1990-01-31,a@b.co,x\n");
        assert_eq!(shown(&rows), r#"{"Date of birth":"1990-01-31","e  mail":"a@b.co","":"x"}"#);
        let twice = Rows::new(Format::Csv, &b"\"Shoe\nsize\",Shoe size\n"[..]).map(drop).unwrap_err();
        assert_eq!(twice.to_string(), "Two columns have the same name");
        let keys = read(Format::Jsonl, b"{\"Shoe  size\":1,\"Shoe\\nsize\":2}");
        assert_eq!(shown(&keys), r#"{"Shoe  size":1,"Shoe\nsize":2}"#, "a key of JSON is a key as it is");
    }

    #[test]
    fn the_format_of_a_file_is_seen_by_its_beginning() {
        for (text, format) in [
            ("", Format::Csv),
            ("email\na@b.co", Format::Csv),
            (" {\"email\":1}\r\n{}", Format::Jsonl),
            ("{\"email\" 1}\n{}", Format::Jsonl),
            ("\n[\n{}]", Format::Json),
            ("{\n\"users\":[]}", Format::Json),
            ("\u{feff}[{}]", Format::Json),
            ("\u{feff}\r\n{}\n{}", Format::Jsonl),
            ("{\"realm\":\"x\",\"users\":[]}", Format::Json),
        ] {
            assert_eq!(Format::of(text.as_bytes()), format, "{text}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_does_not_stop_the_others() {
        let lines = read(Format::Jsonl, b"{\"email\":1,\"email\":2}\nnonsense\n7\n{\"email\":\"a@b.co\"}");
        let whys: Vec<_> = lines.iter().map(|row| row.as_ref().err().copied()).collect();
        assert_eq!(
            whys,
            [
                Some("the row has a key twice"),
                Some("the row is not valid JSON"),
                Some("the row is not a JSON object"),
                None
            ]
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
        let list = format!("[{{\"email\":1,\"email\":2}}, 7, {deep}, {{}}]");
        let rows = Rows::new(Format::Json, Cursor::new(list)).unwrap().map(Result::unwrap);
        assert_eq!(
            rows.map(Row::err).collect::<Vec<_>>(),
            [
                Some("the row has a key twice"),
                Some("the row is not a JSON object"),
                Some("the row is nested too deep"),
                None
            ]
        );
        let cells = read(Format::Csv, b"email,name\na@b.co\na@b.co,\xff\na@b.co,A\n");
        assert!(cells[0].is_err() && cells[1].is_err() && cells[2].is_ok());
        let long = "x".repeat(2 * 1024 * 1024);
        for (format, file) in [
            (Format::Jsonl, format!("{{\"email\":\"{long}\"}}\n{{}}\n")),
            (Format::Json, format!("[{{\"email\":\"{long}\"}},{{}}]")),
            (Format::Csv, format!("email\n{long}\na@b.co\n")),
        ] {
            let read: Vec<_> = Rows::new(format, Cursor::new(file)).unwrap().map(Result::unwrap).collect();
            assert_eq!((read.len(), &read[0], read[1].is_ok()), (2, &Err(TOO_LONG), true), "{format:?}");
        }
    }

    #[test]
    fn rows_are_read_before_the_file_is_read_to_its_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("broken"))
            }
        }
        for (format, beginning) in [
            (Format::Csv, "email\na@b.co\n"),
            (Format::Jsonl, "{\"email\":\"a@b.co\"}\n"),
            (Format::Json, "[{\"email\":\"a@b.co\"},"),
            (Format::Json, "{\"realm\":\"x\",\"users\":[{\"email\":\"a@b.co\"},"),
        ] {
            let mut rows = Rows::new(format, beginning.as_bytes().chain(Broken)).unwrap();
            let first = rows.next().unwrap().unwrap();
            assert_eq!(shown(&[first]), r#"{"email":"a@b.co"}"#, "{beginning}");
            assert!(rows.next().unwrap().is_err(), "{beginning}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        for (format, text) in [
            (Format::Csv, &b"email,email\n"[..]),
            (Format::Csv, b"\xff,email\n"),
            (Format::Json, b"{}"),
            (Format::Json, b"{\"users\":7}"),
            (Format::Json, b"[1"),
            (Format::Json, b"[{},{email:1}]"),
        ] {
            assert!(Rows::new(format, text).and_then(survey).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_file_has_a_thousand_columns_at_the_most() {
        let names = |count: usize| (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>();
        let objects = |count| names(count).iter().map(|name| format!("{{\"{name}\":1}}")).collect::<Vec<_>>();
        let files = |count| {
            [
                (Format::Csv, names(count).join(",") + "\n"),
                (Format::Jsonl, objects(count).join("\n")),
                (Format::Json, format!("[{}]", objects(count).join(","))),
            ]
        };
        for (format, file) in files(MOST_COLUMNS) {
            let found = Rows::new(format, Cursor::new(file)).and_then(survey).unwrap();
            assert_eq!(found.columns, names(MOST_COLUMNS), "{format:?}");
        }
        for (format, file) in files(MOST_COLUMNS + 1) {
            let why = Rows::new(format, Cursor::new(file)).and_then(survey).unwrap_err();
            assert_eq!(why.to_string(), "The file has more than 1000 columns", "{format:?}");
        }
    }

    #[test]
    fn a_survey_knows_every_column_and_how_many_rows_there_are() {
        let found =
            survey(Rows::new(Format::Jsonl, &b"{\"email\":1}\nx\n{\"name\":1,\"email\":2}"[..]).unwrap()).unwrap();
        assert_eq!((found.columns, found.rows), (vec!["email".to_owned(), "name".to_owned()], 3));
        let empty = survey(Rows::new(Format::Csv, &b"email,name\n"[..]).unwrap()).unwrap();
        assert_eq!((empty.columns.len(), empty.rows), (2, 0));
    }
}
