//! A column of a file: where its value stands in a row, and what is done with it before it is judged. Knows no file and no other
//! column.

use serde_json::{Map, Number, Value};

use super::entry::fact;
use crate::clock::Timestamp;
use crate::field::{Context, json};

#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its name, or the way to a value in it with dots between.
    pub(super) source: String,
    /// The name of the fact.
    pub(super) field: String,
    reading: Reading,
    kind: Kind,
}

/// What is done with a value before it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Plain,
    /// Of a list, the first.
    First,
    /// Whether it is a time, or true; not which time.
    Present,
    /// It lacks the plus before the country's code.
    Plus,
    /// Whether it names the value of this column.
    Names(&'static str),
    /// Frozen if it is true, or cannot be read.
    FrozenIf,
    /// Frozen if it is false, or cannot be read.
    FrozenUnless,
    /// Frozen if the time is to come, or cannot be read.
    FrozenUntil,
    /// Deleted there if it is there.
    DeletedIf,
}

/// What JSON a fact is made of, for files that have texts for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Truth,
    Number,
    Object,
    /// Whatever the file has.
    Any,
    Other,
}

fn kind_of(field: &str) -> Kind {
    match (field, fact(field).map(|wire| (wire.schema)())) {
        ("email_verified", _) => Kind::Truth,
        ("subscriptionDates", _) => Kind::Object,
        (_, None) if field.starts_with("metadata.") => Kind::Any,
        (_, None) => Kind::Text,
        (_, Some(schema)) => match schema["type"].as_str() {
            Some("string") => Kind::Text,
            Some("boolean") => Kind::Truth,
            Some("integer") => Kind::Number,
            Some("object") => Kind::Object,
            _ => Kind::Other,
        },
    }
}

impl Column {
    pub(super) fn new(source: &str, field: &str, reading: Reading) -> Column {
        Column { source: source.to_owned(), field: field.to_owned(), reading, kind: kind_of(field) }
    }

    /// Whether it reads the file's column of this name, or something in it.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.source == name || self.source.split('.').next() == Some(name)
    }

    /// The column's value in a row; `None` if there is none, or nothing.
    pub(super) fn value(&self, row: &Map<String, Value>, context: &Context) -> Option<Value> {
        let value = match look_up(row, &self.source)? {
            Value::Array(list) => self.of_list(list, !row.contains_key(&self.source))?,
            value => value,
        };
        // What cannot be read keeps somebody out rather than letting them in.
        let frozen = |frozen: bool| (is_something(&value) && frozen).then(|| "frozen".into());
        match self.reading {
            Reading::Plain | Reading::First => Some(coerce(self.kind, value)),
            Reading::Present => Some((time(&value).is_some() || truth(&value) == Some(true)).into()),
            Reading::Plus => Some(match coerce(self.kind, value) {
                Value::String(text) if !text.is_empty() && !text.starts_with('+') => format!("+{text}").into(),
                value => value,
            }),
            Reading::Names(other) => {
                let other = look_up(row, other)?;
                let listed = value.as_str()?.split([',', '|', ';', ' ']).any(|one| Some(one.trim()) == other.as_str());
                Some(listed.into())
            }
            Reading::FrozenIf => frozen(truth(&value) != Some(false)),
            Reading::FrozenUnless => frozen(truth(&value) != Some(true)),
            Reading::FrozenUntil => frozen(time(&value).is_none_or(|until| until.day() >= context.today)),
            Reading::DeletedIf => is_something(&value).then(|| "deleted".into()),
        }
    }

    /// What is read of a list. What a field does not take is not made less: it is left to the field to refuse.
    fn of_list(&self, list: Vec<Value>, is_within: bool) -> Option<Value> {
        // Other services keep each attribute as a list, mostly of one.
        let is_attribute = is_within && self.kind != Kind::Any && list.len() <= 1;
        if self.reading == Reading::Plain && !is_attribute {
            return Some(Value::Array(list));
        }
        list.into_iter().next().filter(|value| !value.is_null())
    }
}

/// The value of a column, or of a way into one.
fn look_up(row: &Map<String, Value>, source: &str) -> Option<Value> {
    let value = row.get(source).cloned().or_else(|| {
        let (column, way) = source.split_once('.')?;
        let inner = match row.get(column)? {
            Value::String(text) => json::parse(text.as_bytes()).ok()?,
            value => value.clone(),
        };
        way.split('.').try_fold(inner, |value, key| value.get(key).cloned())
    })?;
    Some(value).filter(|value| !value.is_null())
}

fn is_something(value: &Value) -> bool {
    !matches!(value.as_str().map(str::trim), Some("" | "null" | "NULL")) && !value.is_null()
}

/// A time as RFC 3339 or a database writes it.
fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(&value.as_str()?.trim().replacen(' ', "T", 1))
}

fn truth(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(truth) => return Some(*truth),
        Value::Number(number) => whole(number)?,
        Value::String(text) => text.trim().to_ascii_lowercase(),
        _ => return None,
    };
    // Programs for data write a point where a column has gaps.
    match text.as_str() {
        "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

fn coerce(kind: Kind, value: Value) -> Value {
    let better = match (kind, &value) {
        (Kind::Truth, _) => truth(&value).map(Value::from),
        (Kind::Number, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Object, Value::String(text)) => json::parse(text.as_bytes()).ok(),
        (Kind::Text, Value::Number(number)) => whole(number).map(Value::from),
        _ => None,
    };
    better.unwrap_or(value)
}

/// A whole number as text, however it is written. One with a fraction is no text, and is left to the field to refuse.
fn whole(number: &Number) -> Option<String> {
    // From here on, several whole numbers are the same float.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_f64() {
        return Some(number.to_string());
    }
    // Without a point, behind which a zero would be one more digit of a phone number: somebody else's.
    number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT).map(|float| float.to_string())
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::Region;
    use serde_json::json;

    use super::*;

    /// The fact that is made of a value.
    fn read(field: &str, reading: Reading, value: &Value) -> Option<Value> {
        let row = Map::from_iter([("column".to_owned(), value.clone())]);
        let context = Context { region: Region::US, today: "2026-11-22".parse().unwrap() };
        Column::new("column", field, reading).value(&row, &context)
    }

    #[test]
    fn what_tells_whether_somebody_is_kept_out_and_cannot_be_read_keeps_them_out() {
        let frozen = |reading, value: &Value| read("status", reading, value) == Some(json!("frozen"));
        for value in [json!("WAHR"), json!("true"), json!(1), json!(1.0), json!("2023-01-01"), json!({})] {
            assert!(frozen(Reading::FrozenIf, &value), "{value}");
        }
        for value in [json!("FALSCH"), json!("false"), json!(0), json!(0.0), json!("disabled")] {
            assert!(frozen(Reading::FrozenUnless, &value), "{value}");
        }
        for value in [json!("2026-11-22"), json!("2126-01-01 10:00:00+00"), json!("soon"), json!(true)] {
            assert!(frozen(Reading::FrozenUntil, &value), "{value}");
        }
        for nothing in [json!(""), json!(" "), json!("NULL"), Value::Null] {
            for reading in [Reading::FrozenIf, Reading::FrozenUnless, Reading::FrozenUntil] {
                assert!(!frozen(reading, &nothing), "{nothing} {reading:?}");
            }
        }
        for value in [json!(false), json!("False"), json!("0"), json!(0), json!(0.0), json!("0.0")] {
            assert!(!frozen(Reading::FrozenIf, &value), "{value}");
        }
        for value in [json!(true), json!("TRUE"), json!("1"), json!(1), json!(1.0), json!("1.0")] {
            assert!(!frozen(Reading::FrozenUnless, &value), "{value}");
        }
    }

    #[test]
    fn a_whole_number_becomes_the_same_text_however_it_is_written_and_another_is_left_to_be_refused() {
        for (number, text) in [(json!(1234), "1234"), (json!(1234.0), "1234"), (json!(1e9), "1000000000")] {
            assert_eq!(read("externalId", Reading::Plain, &number), Some(json!(text)), "{number}");
        }
        for number in [json!(1234.5), json!(1e16), json!(2e300)] {
            assert_eq!(read("externalId", Reading::Plain, &number), Some(number));
        }
        for phone in [json!("12025550123"), json!("+12025550123"), json!(12_025_550_123_i64), json!(12_025_550_123.0)] {
            assert_eq!(read("phone_number", Reading::Plus, &phone), Some(json!("+12025550123")), "{phone}");
        }
    }

    #[test]
    fn an_address_is_proven_by_a_time_or_a_yes_that_can_be_read() {
        let proven = |value: &str| read("email_verified", Reading::Present, &json!(value)).unwrap();
        for value in [
            "2023-01-01 10:00:00.123456+00",
            "2023-01-01 10:00:00+05:30",
            "2023-01-01T10:00:00.123456Z",
            " 2023-01-01 ",
            "true",
        ] {
            assert_eq!(proven(value), true, "{value}");
        }
        for value in ["", "None", "NaT", "null", "false", "0", "2023-13-01"] {
            assert_eq!(proven(value), false, "{value}");
        }
    }
}
