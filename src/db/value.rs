//! Values between Rust and a database, the same for every engine.

use std::borrow::Cow;

use rlibphonenumber::Region;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// A value that a statement is given, or that a row holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// SQL `NULL`.
    Null,
    /// `BIGINT` and `BOOLEAN`.
    Integer(i64),
    /// `TEXT`.
    Text(Cow<'a, str>),
    /// `BYTEA` and `UUID`.
    Bytes(Cow<'a, [u8]>),
}

impl Value<'_> {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Null | Value::Integer(_) => 8,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
        }
    }

    /// The same value without anything borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Integer(i) => Value::Integer(i),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        }
    }
}

/// One row of an answer.
#[derive(Clone, Debug)]
pub struct Row(pub(super) Vec<Value<'static>>);

impl Row {
    /// Every value, in the order of the columns.
    pub fn values(&self) -> &[Value<'static>] {
        &self.0
    }

    /// The value of the column at `index`, counted from zero.
    ///
    /// # Errors
    /// The column does not hold such a value: a bug, or a damaged file.
    pub fn get<T: Column>(&self, index: usize) -> Result<T> {
        self.0
            .get(index)
            .and_then(T::from_value)
            .ok_or_else(|| Error::internal(format!("column {index} does not hold a {}", std::any::type_name::<T>())))
    }
}

/// A type that a column can hold.
pub trait Column: Sized {
    /// `None` when the value is of another kind.
    fn from_value(value: &Value<'static>) -> Option<Self>;
}

macro_rules! columns {
    ($($type:ty: $pattern:pat => $from:expr, $this:ident => $into:expr;)+) => {$(
        impl Column for $type {
            fn from_value(value: &Value<'static>) -> Option<Self> {
                match value { $pattern => $from, _ => None }
            }
        }
        impl From<$type> for Value<'_> {
            fn from($this: $type) -> Self { $into }
        }
    )+};
}

columns! {
    i64: Value::Integer(i) => Some(*i), v => Value::Integer(v);
    bool: Value::Integer(i) => Some(*i != 0), v => Value::Integer(i64::from(v));
    Timestamp: Value::Integer(i) => Some(Timestamp(*i)), v => Value::Integer(v.0);
    String: Value::Text(t) => Some(t.to_string()), v => Value::Text(Cow::Owned(v));
    Vec<u8>: Value::Bytes(b) => Some(b.to_vec()), v => Value::Bytes(Cow::Owned(v));
    Uuid: Value::Bytes(b) => Uuid::from_slice(b).ok(), v => Value::Bytes(Cow::Owned(v.as_bytes().to_vec()));
}

/// Whatever it is.
impl Column for Value<'static> {
    fn from_value(value: &Value<'static>) -> Option<Self> {
        Some(value.clone())
    }
}

impl<T: Column> Column for Option<T> {
    fn from_value(value: &Value<'static>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Bytes(Cow::Borrowed(bytes))
    }
}

/// The parameters of a statement: `params![id, name]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Value::from($value)),*] };
}
pub(crate) use params;

/// The places of some values after those before, and all of them: in powers of two, so that few statements are prepared. The last
/// value stands for those that are not there.
pub(crate) fn one_of<'a>(before: Vec<Value<'a>>, values: Vec<Value<'a>>) -> (String, Vec<Value<'a>>) {
    debug_assert!((1..=8192).contains(&values.len()), "engines take some ten thousand parameters");
    let (first, count) = (before.len() + 1, values.len().next_power_of_two());
    let places: Vec<String> = (first..first + count).map(|place| format!("${place}")).collect();
    let mut all = before;
    all.extend(values);
    while let Some(last) = all.last().filter(|_| all.len() + 1 < first + count).cloned() {
        all.push(last);
    }
    (places.join(", "), all)
}

/// A region is stored by its two letters.
impl Column for Region {
    fn from_value(value: &Value<'static>) -> Option<Self> {
        String::from_value(value)?.parse().ok()
    }
}

impl From<Region> for Value<'_> {
    fn from(region: Region) -> Self {
        region.to_string().into()
    }
}

/// A closed set of words that a column can hold and JSON can show: `Variant = "word"`.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// The one of that word.
            pub fn named(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl $crate::db::Column for $name {
            fn from_value(value: &$crate::db::Value<'static>) -> Option<Self> {
                match value { $crate::db::Value::Text(word) => $name::named(word), _ => None }
            }
        }

        impl From<$name> for $crate::db::Value<'_> {
            fn from(one: $name) -> Self { one.as_str().into() }
        }
    };
}
pub(crate) use words;

/// Makes a UUID of its own type, so that a user's id cannot stand where an app's belongs.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A new random id.
            pub fn random() -> Self { $name($crate::random::uuid()) }

            /// A new id that sorts after those of earlier times, so that rows lie in that order too.
            pub fn ordered(now: $crate::clock::Timestamp) -> Self { $name($crate::random::ordered_uuid(now)) }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> std::result::Result<Self, uuid::Error> { uuid::Uuid::try_parse(text).map($name) }
        }
        impl $crate::db::Column for $name {
            fn from_value(value: &$crate::db::Value<'static>) -> Option<Self> {
                uuid::Uuid::from_value(value).map($name)
            }
        }
        impl From<$name> for $crate::db::Value<'_> {
            fn from(id: $name) -> Self { id.0.into() }
        }
    };
}
pub(crate) use id_type;
