//! Fields: how a JSON value becomes a typed fact, with every wrong value explained.
//!
//! A type that implements [`Field`] carries its rule, its error texts and its JSON Schema, so the API,
//! the command line, imports and the OpenAPI documents cannot disagree. [`record!`] turns a list of
//! such fields into a struct plus the table that dialects read and show it by: one line a field.

pub mod json;
mod types;

use jiff::civil::Date;
use rlibphonenumber::Region;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, FieldError, Result};
pub use types::{BirthDay, BirthMoment, Day, FilledLine, Line, Metadata, Prose};

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
    /// Empties its place.
    pub clear: fn(&mut T),
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
            clear: |record| record.$($place).+ = None,
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
            fn parse(value: &serde_json::Value, _: &$crate::field::Context) -> std::result::Result<Self, $crate::field::Fault> {
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
