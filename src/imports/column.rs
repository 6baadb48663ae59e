//! A column of a file: where its value stands in a row, and what is done with it before it is judged. Knows no file and no other
//! column.

use serde_json::{Map, Value};

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
    /// That it is there, and not what it is.
    Present,
    /// It lacks the plus before the country's code.
    Plus,
    /// Whether it names the value of this column.
    Names(&'static str),
    /// Frozen if it is true.
    FrozenIf,
    /// Frozen if it is false.
    FrozenUnless,
    /// Frozen if the time is to come.
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
        let is_true = || truth(&value) == Some(true);
        let frozen = |frozen: bool| frozen.then(|| "frozen".into());
        match self.reading {
            Reading::Plain | Reading::First => Some(coerce(self.kind, value)),
            Reading::Present => Some(is_something(&value).into()),
            Reading::Plus => value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(|text| if text.starts_with('+') { text.into() } else { format!("+{text}").into() }),
            Reading::Names(other) => {
                let other = look_up(row, other)?;
                let listed = value.as_str()?.split([',', '|', ';', ' ']).any(|one| Some(one.trim()) == other.as_str());
                Some(listed.into())
            }
            Reading::FrozenIf => frozen(is_true()),
            Reading::FrozenUnless => frozen(truth(&value) == Some(false)),
            Reading::FrozenUntil => {
                let until = value.as_str().and_then(|text| Timestamp::parse(&text.replacen(' ', "T", 1)));
                // What cannot be read keeps somebody out rather than letting them in.
                frozen(is_something(&value) && until.is_none_or(|until| until.day() >= context.today))
            }
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

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_i64().filter(|n| (0..=1).contains(n)).map(|n| n == 1),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "no" | "n" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn coerce(kind: Kind, value: Value) -> Value {
    let better = match (kind, &value) {
        (Kind::Truth, _) => truth(&value).map(Value::from),
        (Kind::Number, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        (Kind::Object, Value::String(text)) => json::parse(text.as_bytes()).ok(),
        (Kind::Text, Value::Number(number)) => Some(number.to_string().into()),
        _ => None,
    };
    better.unwrap_or(value)
}
