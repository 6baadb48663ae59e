//! Fields: how a JSON value becomes a typed fact, with every wrong value explained.
//!
//! A type that implements [`Field`] carries its rule, its error texts and its JSON Schema, so the API,
//! the command line, imports and the OpenAPI documents cannot disagree. [`record!`] turns a list of
//! such fields into a struct plus the table that dialects read and show it by: one line a field.

use jiff::civil::Date;
use rlibphonenumber::Region;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, FieldError, Result};

/// What a value may be judged by besides itself.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Where a phone number without a country code is.
    pub region: Region,
    /// The day in UTC.
    pub today: Date,
}

/// Why a value was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    wording: Wording,
}

#[derive(Debug, PartialEq, Eq)]
enum Wording {
    /// A whole sentence.
    Sentence(&'static str),
    /// What follows the field's name: `must be …`.
    Rule(String),
}

impl Fault {
    /// A refusal whose sentence is documented to the letter.
    pub fn sentence(code: &'static str, sentence: &'static str) -> Fault {
        Fault { code, wording: Wording::Sentence(sentence) }
    }

    /// A refusal that reads `<field> <rule>`, e.g. `must be true or false`.
    pub fn rule(code: &'static str, rule: impl Into<String>) -> Fault {
        Fault { code, wording: Wording::Rule(rule.into()) }
    }

    /// The refusal of a JSON value of another type.
    pub fn kind(expected: &str) -> Fault {
        Fault::rule("type", format!("must be {expected}"))
    }

    /// The refusal as told to the caller, for the field of that name.
    pub fn at(self, field: &str) -> FieldError {
        let message = match self.wording {
            Wording::Sentence(sentence) => sentence.to_owned(),
            Wording::Rule(rule) => format!("{field} {rule}"),
        };
        FieldError { field: field.to_owned(), code: self.code, message }
    }
}

/// A type that a JSON value can be read into by a rule.
pub trait Field: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// The value breaks the type's rule.
    fn parse(value: &Value, context: &Context) -> std::result::Result<Self, Fault>;

    /// The rule as JSON Schema 2020-12.
    fn schema() -> Value;
}

/// One field of a dialect: a wire name and the place of `T` that it stands for.
pub struct Wire<T> {
    /// The name on the wire.
    pub name: &'static str,
    /// What the field means, for the API's documents.
    pub about: &'static str,
    /// The rule as JSON Schema.
    pub schema: fn() -> Value,
    /// Reads a value into its place.
    pub read: fn(&Value, &Context, &mut T) -> std::result::Result<(), Fault>,
    /// Shows what is in its place.
    pub show: fn(&T) -> Option<Value>,
}

impl<T> Wire<T> {
    /// Reads the field from `body` if it is there, noting a fault.
    pub fn take(&self, body: &Map<String, Value>, context: &Context, into: &mut T, faults: &mut Vec<FieldError>) {
        if let Some(value) = body.get(self.name)
            && let Err(fault) = (self.read)(value, context, into)
        {
            faults.push(fault.at(self.name));
        }
    }
}

/// `Ok(value)` when there are no faults.
///
/// # Errors
/// [`Error::Invalid`] with all of them.
pub fn judge<T>(value: T, faults: Vec<FieldError>) -> Result<T> {
    if faults.is_empty() { Ok(value) } else { Err(Error::Invalid(faults)) }
}

/// A table of wire fields over places of a type: `"wire name" path.to.place: HowToRead`.
/// The place holds an `Option` of the type that is read, or of one it converts into.
macro_rules! wire {
    ($(#[$doc:meta])* $vis:vis const $table:ident: $record:ty {
        $($(#[doc = $about:literal])+ $name:literal $($place:ident).+: $type:ty,)+
    }) => {
        $(#[$doc])*
        $vis const $table: &'static [$crate::field::Wire<$record>] = &[$($crate::field::Wire {
            name: $name,
            about: concat!($($about),+),
            schema: <$type as $crate::field::Field>::schema,
            read: |value, context, record| {
                record.$($place).+ = Some(<$type as $crate::field::Field>::parse(value, context)?.into());
                Ok(())
            },
            show: |record| record.$($place).+.as_ref().map($crate::field::show),
        }),+];
    };
}
pub(crate) use wire;

/// A struct of optional facts, stored as one JSON object, with its wire table over `$whole.$part`.
/// `"wire name" rust_name: Type` is all that a field takes.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $record:ident = $whole:ident.$part:ident {
        $($(#[doc = $about:literal])+ $name:literal $field:ident: $type:ty,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $record {
            $($(#[doc = $about])+
            #[serde(rename = $name, default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,)+
        }

        impl $record {
            $crate::field::wire! {
                /// The fields as the wire names them.
                pub const FIELDS: $whole { $($(#[doc = $about])+ $name $part.$field: $type,)+ }
            }

            /// Takes over every field that `change` has.
            pub fn merge(&mut self, change: $record) {
                $(if change.$field.is_some() { self.$field = change.$field; })+
            }
        }

        $crate::secret::redacted!($record);
    };
}
pub(crate) use record;

/// A closed set of words: `Variant = "word"`.
macro_rules! choice {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl $crate::field::Field for $name {
            fn parse(value: &serde_json::Value, _: &$crate::field::Context) -> Result<Self, $crate::field::Fault> {
                match value.as_str() {
                    $(Some($word) => Ok($name::$variant),)+
                    Some(_) => Err($crate::field::Fault::rule("enum", format!("must be one of: {}", Self::WORDS.join(", ")))),
                    None => Err($crate::field::Fault::kind("a string")),
                }
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": Self::WORDS})
            }
        }

        $crate::secret::redacted!($name);
    };
}
pub(crate) use choice;

/// A fact as JSON. Facts are made of texts, numbers and objects, which always serialise.
pub fn show<T: Serialize>(fact: &T) -> Value {
    serde_json::to_value(fact).unwrap_or(Value::Null)
}

/// A stored JSON object as a record.
///
/// # Errors
/// [`Error::Integrity`]: it is not one.
pub fn restore<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|_| Error::Integrity)
}

impl Field for bool {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        value.as_bool().ok_or_else(|| Fault::kind("true or false"))
    }
    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

/// One line of text of at most `MAX` characters; may be empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<const MAX: usize>(pub String);

/// One line of text of at most `MAX` characters with something in it.
pub struct FilledLine<const MAX: usize>(Line<MAX>);

/// Text of at most `MAX` characters that may have line breaks; may be empty.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prose<const MAX: usize>(pub String);

fn text(value: &Value, max: usize, allowed_controls: &[char]) -> std::result::Result<String, Fault> {
    let text = value.as_str().ok_or_else(|| Fault::kind("a string"))?;
    if text.chars().count() > max {
        return Err(Fault::rule("too_long", format!("must have at most {max} characters")));
    }
    // Control characters have no place in a name, can break mail headers, and PostgreSQL refuses NUL.
    if text.chars().any(|c| breaks(c) && !allowed_controls.contains(&c)) {
        return Err(Fault::rule("format", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Control characters, and the two that Unicode breaks lines and paragraphs with.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

impl<const MAX: usize> Field for Line<MAX> {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        text(value, MAX, &[]).map(Line)
    }
    fn schema() -> Value {
        json!({"type": "string", "maxLength": MAX})
    }
}

impl<const MAX: usize> Field for FilledLine<MAX> {
    fn parse(value: &Value, context: &Context) -> std::result::Result<Self, Fault> {
        let line = Line::parse(value, context)?;
        if line.0.trim().is_empty() {
            return Err(Fault::rule("required", "must not be empty"));
        }
        Ok(FilledLine(line))
    }
    fn schema() -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": MAX})
    }
}

impl<const MAX: usize> From<FilledLine<MAX>> for Line<MAX> {
    fn from(filled: FilledLine<MAX>) -> Self {
        filled.0
    }
}

impl<const MAX: usize> Field for Prose<MAX> {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        text(value, MAX, &['\n', '\r', '\t', '\u{2028}', '\u{2029}']).map(Prose)
    }
    fn schema() -> Value {
        json!({"type": "string", "maxLength": MAX})
    }
}

/// A calendar day written `YYYY-MM-DD`, from 1900 to 2199. Past and future are both fine.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day(pub Date);

impl Day {
    fn of(text: &str) -> std::result::Result<Day, Fault> {
        let shape_fits = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
        let day = if shape_fits { text.parse::<Date>().ok() } else { None };
        let day = day.ok_or_else(|| Fault::rule("format", "must be a real day written YYYY-MM-DD"))?;
        if !(1900..2200).contains(&day.year()) {
            return Err(Fault::rule("range", "must be between 1900-01-01 and 2199-12-31"));
        }
        Ok(Day(day))
    }
}

impl Field for Day {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        Day::of(value.as_str().ok_or_else(|| Fault::kind("a string"))?)
    }
    fn schema() -> Value {
        json!({"type": "string", "format": "date"})
    }
}

/// A day of birth: a [`Day`] that is not in the future.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthDay(pub Date);

impl BirthDay {
    fn of(text: &str, context: &Context) -> std::result::Result<BirthDay, Fault> {
        let Day(day) = Day::of(text)?;
        if day > context.today {
            return Err(Fault::rule("range", "must not be in the future"));
        }
        Ok(BirthDay(day))
    }
}

impl Field for BirthDay {
    fn parse(value: &Value, context: &Context) -> std::result::Result<Self, Fault> {
        BirthDay::of(value.as_str().ok_or_else(|| Fault::kind("a string"))?, context)
    }
    fn schema() -> Value {
        json!({"type": "string", "format": "date"})
    }
}

/// A day of birth written `YYYY-MM-DD` or as an RFC 3339 date-time whose date part counts (contract item 41:
/// the official client sends the latter).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BirthMoment(pub BirthDay);

impl Field for BirthMoment {
    fn parse(value: &Value, context: &Context) -> std::result::Result<Self, Fault> {
        let text = value.as_str().ok_or_else(|| Fault::kind("a string"))?;
        let day = match text.split_once(['T', 't', ' ']) {
            Some((day, _)) if text.parse::<jiff::Timestamp>().is_ok() => day,
            _ => text,
        };
        BirthDay::of(day, context).map(BirthMoment)
    }
    fn schema() -> Value {
        json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]})
    }
}

impl From<BirthDay> for BirthMoment {
    fn from(day: BirthDay) -> Self {
        BirthMoment(day)
    }
}

/// A JSON object of the caller's own, kept as sent: at most 50 keys of 40 characters on each level, texts of
/// 500 characters, 5 levels.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub Map<String, Value>);

impl Metadata {
    const KEYS: usize = 50;
    const KEY_LENGTH: usize = 40;
    const TEXT_LENGTH: usize = 500;
    const LEVELS: usize = 5;

    fn check(value: &Value, level: usize) -> std::result::Result<(), Fault> {
        let too = |what: String| Err(Fault::rule("too_long", what));
        if level > Self::LEVELS {
            return too(format!("must have at most {} levels", Self::LEVELS));
        }
        match value {
            Value::Object(map) if map.len() > Self::KEYS => too(format!("must have at most {} keys", Self::KEYS)),
            Value::Object(map) => map.iter().try_for_each(|(key, inner)| {
                if key.chars().count() > Self::KEY_LENGTH {
                    return too(format!("must have keys of at most {} characters", Self::KEY_LENGTH));
                }
                Self::check(inner, level + 1)
            }),
            Value::Array(list) => list.iter().try_for_each(|inner| Self::check(inner, level + 1)),
            Value::String(text) if text.chars().count() > Self::TEXT_LENGTH => {
                too(format!("must have texts of at most {} characters", Self::TEXT_LENGTH))
            }
            _ => Ok(()),
        }
    }
}

impl Field for Metadata {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        let map = value.as_object().ok_or_else(|| Fault::kind("an object of keys and values"))?;
        Self::check(value, 0)?;
        Ok(Metadata(map.clone()))
    }
    fn schema() -> Value {
        json!({
            "type": "object", "maxProperties": Self::KEYS, "propertyNames": {"maxLength": Self::KEY_LENGTH},
            "additionalProperties": true
        })
    }
}

crate::secret::redacted!(Day, BirthDay, BirthMoment, Metadata);

impl<const MAX: usize> std::fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl<const MAX: usize> std::fmt::Debug for Prose<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}
