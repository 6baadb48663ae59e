//! The types of fields that any record may have: texts, days, free-form data.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Context, Fault, Field};

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

fn too_long<T>(what: String) -> std::result::Result<T, Fault> {
    Err(Fault::rule("too_long", what))
}

fn text(value: &Value, max: usize, allowed_controls: &[char]) -> std::result::Result<String, Fault> {
    let text = value.as_str().ok_or_else(|| Fault::kind("a string"))?;
    if text.chars().count() > max {
        return too_long(format!("must have at most {max} characters"));
    }
    // Control characters have no place in a name, can break mail headers, and not every database keeps a NUL.
    if text.chars().any(|c| breaks(c) && !allowed_controls.contains(&c)) {
        return Err(Fault::rule("format", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Control characters, the two that Unicode breaks lines and paragraphs with, and those that turn the direction of
/// what follows them.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Takes up no ink: joiners are part of names in some scripts, but no name is made of them alone.
fn invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{3164}' | '\u{FEFF}')
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
        if line.0.chars().all(invisible) {
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
/// 500 characters, 5 levels, 64 KiB in all.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(pub Map<String, Value>);

impl Metadata {
    /// How many keys an object has at the most.
    pub const KEYS: usize = 50;
    /// How many characters a key has.
    pub const KEY_LENGTH: usize = 40;
    /// How many a text.
    pub const TEXT_LENGTH: usize = 500;
    /// How many levels of objects and lists there are below the top.
    pub const LEVELS: usize = 5;
    /// How many bytes all of it has as JSON: as much as a body may have, so that who adds to it, body by body, comes to an end.
    pub const SIZE: usize = 64 * 1024;

    /// Takes over what `patch` has, key by key; null removes a key (RFC 7396).
    ///
    /// # Errors
    /// There would be more than there may, and more than there was: what is too large already can become smaller.
    pub fn merge(&mut self, patch: &Map<String, Value>) -> std::result::Result<(), Fault> {
        fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
            for (key, change) in patch {
                match change {
                    Value::Null => drop(into.shift_remove(key)),
                    Value::Object(change) => {
                        let inner = into.entry(key.as_str()).or_insert_with(|| json!({}));
                        if !inner.is_object() {
                            *inner = json!({});
                        }
                        inner.as_object_mut().into_iter().for_each(|inner| merge(inner, change));
                    }
                    plain => drop(into.insert(key.clone(), plain.clone())),
                }
            }
        }
        let before = self.size();
        merge(&mut self.0, patch);
        self.check(before)
    }

    fn size(&self) -> usize {
        serde_json::to_string(&self.0).map_or(usize::MAX, |json| json.len())
    }

    fn check(&self, before: usize) -> std::result::Result<(), Fault> {
        Self::check_keys(&self.0, 0)?;
        if self.size() > Self::SIZE.max(before) {
            too_long(format!("must have at most {} KiB", Self::SIZE / 1024))
        } else {
            Ok(())
        }
    }

    fn check_keys(map: &Map<String, Value>, level: usize) -> std::result::Result<(), Fault> {
        if map.len() > Self::KEYS {
            return too_long(format!("must have at most {} keys", Self::KEYS));
        }
        map.iter().try_for_each(|(key, inner)| {
            if key.chars().count() > Self::KEY_LENGTH {
                return too_long(format!("must have keys of at most {} characters", Self::KEY_LENGTH));
            }
            Self::check_value(inner, level + 1)
        })
    }

    fn check_value(value: &Value, level: usize) -> std::result::Result<(), Fault> {
        if level > Self::LEVELS {
            return too_long(format!("must have at most {} levels", Self::LEVELS));
        }
        match value {
            Value::Object(map) => Self::check_keys(map, level),
            Value::Array(list) => list.iter().try_for_each(|inner| Self::check_value(inner, level + 1)),
            Value::String(text) if text.chars().count() > Self::TEXT_LENGTH => {
                too_long(format!("must have texts of at most {} characters", Self::TEXT_LENGTH))
            }
            _ => Ok(()),
        }
    }
}

impl Field for Metadata {
    fn parse(value: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        let map = value.as_object().ok_or_else(|| Fault::kind("an object of keys and values"))?;
        let metadata = Metadata(map.clone());
        metadata.check(0).map(|()| metadata)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_is_too_large_already_can_become_smaller_and_no_larger() {
        let text = json!(vec!["x".repeat(500); 100]);
        let mut metadata = Metadata(
            [("a", &text), ("b", &text), ("c", &text)].map(|(k, v)| (k.to_owned(), v.clone())).into_iter().collect(),
        );
        let mut merge = |patch: Value| metadata.merge(patch.as_object().unwrap()).is_ok();
        assert!(merge(json!({"a": null})), "it is too large yet");
        assert!(!merge(json!({"d": 1})));
    }
}
