//! The rows of a file, whatever its format: CSV with a header, JSON with one object a line, or one JSON list. Knows no
//! fields: a row is an object as the file has it.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::cell;
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
    json::parse(object).is_ok_and(|object| object["users"].is_array())
}

/// A row as the file has it, or why it is none.
pub type Row = std::result::Result<Map<String, Value>, &'static str>;

/// The byte order mark, which some programs write before the first byte.
const MARK: &[u8] = b"\xEF\xBB\xBF";
/// The longest line of JSON.
const LONGEST: u64 = 1024 * 1024;

/// The rows of a file, one after the other.
pub struct Rows(Inner);

type Source = BufReader<Box<dyn Read + Send>>;

enum Inner {
    Csv { reader: Box<csv::Reader<Source>>, header: Vec<String>, record: csv::ByteRecord },
    Lines(Source),
    List(std::vec::IntoIter<Value>),
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
            Format::Json => list(source),
        }
    }
}

fn csv(mut source: Source) -> Result<Rows> {
    let delimiter = delimiter(source.fill_buf().map_err(unreadable)?);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(source);
    let header = reader.headers().map_err(|_| refuse("The first line must name the columns, in UTF-8"))?;
    let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
    if (1..header.len()).any(|i| header[..i].contains(&header[i]) && !header[i].is_empty()) {
        return Err(refuse("Two columns have the same name"));
    }
    Ok(Rows(Inner::Csv { reader: Box::new(reader), header, record: csv::ByteRecord::new() }))
}

/// What stands most often between the words of the first line.
fn delimiter(start: &[u8]) -> u8 {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| line.split(|byte| *byte == wanted).count();
    // The last of equals: a comma, if there is none at all.
    [b'\t', b';', b','].into_iter().max_by_key(|byte| count(*byte)).unwrap_or(b',')
}

fn list(mut source: Source) -> Result<Rows> {
    let mut text = Vec::new();
    source.read_to_end(&mut text).map_err(unreadable)?;
    let users = match json::parse(&text).map_err(|_| refuse("The file is not valid JSON"))? {
        Value::Object(mut whole) => whole.shift_remove("users"),
        other => Some(other),
    };
    match users {
        Some(Value::Array(users)) => Ok(Rows(Inner::List(users.into_iter()))),
        _ => Err(refuse("The file must be a JSON list of objects, or an object with one called users")),
    }
}

fn refuse(why: &'static str) -> Error {
    Error::bad_request("unreadable_file", why)
}

fn unreadable(e: std::io::Error) -> Error {
    Error::operator(format!("the file cannot be read: {e}"))
}

fn object(value: Value) -> Row {
    match value {
        Value::Object(row) => Ok(row),
        _ => Err("the row is not a JSON object"),
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        match &mut self.0 {
            Inner::List(list) => list.next().map(object).map(Ok),
            Inner::Lines(source) => next_line(source).transpose(),
            Inner::Csv { reader, header, record } => match reader.read_byte_record(record) {
                Ok(true) => Some(Ok(cells(header, record))),
                Ok(false) => None,
                Err(e) => Some(Err(Error::operator(match e.into_kind() {
                    csv::ErrorKind::Io(e) => format!("the file cannot be read: {e}"),
                    _ => "the file cannot be read as CSV".to_owned(),
                }))),
            },
        }
    }
}

fn cells(header: &[String], record: &csv::ByteRecord) -> Row {
    if record.len() != header.len() {
        return Err("the row has more or fewer cells than the first line");
    }
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
        if source.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
            source.skip_until(b'\n').map_err(unreadable)?;
            return Ok(Some(Err("the row is longer than 1 MiB")));
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    Ok(Some(match json::parse(&line) {
        Ok(value) => object(value),
        Err(e) if e.code() == "duplicate_key" => Err("the row has a key twice"),
        Err(e) if e.code() == "too_deep" => Err("the row is nested too deep"),
        Err(_) => Err("the row is not valid JSON"),
    }))
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
/// It cannot be read.
pub fn survey(rows: Rows) -> Result<Survey> {
    let mut survey = Survey::default();
    // The header names columns that may be empty in every row.
    if let Inner::Csv { header, .. } = &rows.0 {
        survey.columns = header.iter().filter(|name| !name.is_empty()).cloned().collect();
    }
    let mut known: std::collections::HashSet<String> = survey.columns.iter().cloned().collect();
    for row in rows {
        survey.rows += 1;
        for name in row?.iter().flat_map(Map::keys) {
            if !name.is_empty() && !known.contains(name) {
                known.insert(name.clone());
                survey.columns.push(name.clone());
            }
        }
    }
    Ok(survey)
}

#[cfg(test)]
mod tests {
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
            (Format::Csv, b"email\t name \na@b.co\t\"A, \"\"B\"\"\"\nc@d.co\t\n"),
            (Format::Jsonl, b"{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"}\n\n {\"email\":\"c@d.co\"}"),
            (Format::Json, b"[{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"},{\"email\":\"c@d.co\"}]"),
            (Format::Json, b"{\"realm\":\"x\",\"users\":[{\"email\":\"a@b.co\",\"name\":\"A, \\\"B\\\"\"},{\"email\":\"c@d.co\"}]}"),
        ] {
            assert_eq!(shown(&read(format, text)), people, "{}", String::from_utf8_lossy(text));
        }
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
        let cells = read(Format::Csv, b"email,name\na@b.co\na@b.co,\xff\na@b.co,A\n");
        assert!(cells[0].is_err() && cells[1].is_err() && cells[2].is_ok());
        let long = format!("{{\"email\":\"{}\"}}\n{{}}\n", "x".repeat(2 * 1024 * 1024));
        let long =
            Rows::new(Format::Jsonl, std::io::Cursor::new(long)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!((long.len(), long[0].is_err(), long[1].is_ok()), (2, true, true));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        for (format, text) in [
            (Format::Csv, &b"email,email\n"[..]),
            (Format::Csv, b"\xff,email\n"),
            (Format::Json, b"{}"),
            (Format::Json, b"{\"users\":7}"),
            (Format::Json, b"[1"),
        ] {
            assert!(Rows::new(format, text).is_err(), "{}", String::from_utf8_lossy(text));
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
