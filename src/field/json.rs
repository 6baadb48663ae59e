//! JSON read strictly. Refuses what different readers understand differently: duplicate keys, deep nesting, trailing text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How deep JSON may be nested.
const DEPTH: usize = 32;

/// Reads JSON text.
///
/// # Errors
/// It is not JSON, has a key twice, or is nested too deep; the text says where.
pub fn parse(text: &[u8]) -> Result<Value> {
    if text.trim_ascii().is_empty() {
        return Err(Error::bad_request("malformed_json", "The body is empty; it must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|e| {
        let (line, column) = (e.line(), e.column());
        // serde_json's own texts quote the input, which may be personal; ours do not.
        match e.to_string() {
            text if text.starts_with(TWICE) => Error::bad_request(
                "duplicate_key",
                format!("The body has a key twice, near line {line} column {column}"),
            ),
            text if text.starts_with(DEEP) => {
                Error::bad_request("too_deep", format!("The body is nested deeper than {DEPTH} levels"))
            }
            _ => Error::bad_request(
                "malformed_json",
                format!("The body is not valid JSON, near line {line} column {column}"),
            ),
        }
    })
}

const TWICE: &str = "a key stands twice";
const DEEP: &str = "nested too deep";

/// Reads any JSON value at `depth`.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(self) -> std::result::Result<Strict, E> {
        if self.depth == DEPTH { Err(E::custom(DEEP)) } else { Ok(Strict { depth: self.depth + 1 }) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, v: bool) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_string<E>(self, v: String) -> std::result::Result<Value, E> {
        Ok(v.into())
    }
    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text.as_bytes()).map_or_else(|e| e.code(), |_| "ok")
    }

    #[test]
    fn json_is_read_strictly() {
        assert_eq!(code(r#"{"a":1,"b":{"a":[1.5,"x",null,true]}}"#), "ok");
        assert_eq!(code(r#"{"a":1,"a":2}"#), "duplicate_key");
        assert_eq!(code(r#"{"m":{"a":1,"\u0061":2}}"#), "duplicate_key");
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "{'a':1}",
            r#"{"a":1,}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "NaN",
            "1e999",
        ] {
            assert_eq!(code(text), "malformed_json", "{text:?}");
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err().code(), "malformed_json");
    }

    #[test]
    fn nesting_ends_at_32_levels() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert_eq!(code(&nested(32)), "ok");
        assert_eq!(code(&nested(33)), "too_deep");
        assert_eq!(code(&nested(30_000)), "too_deep");
    }

    #[test]
    fn an_error_does_not_quote_the_body() {
        let error = parse(br#"{"email": jane@doe.com}"#).unwrap_err();
        assert!(!error.to_string().contains("jane"), "{error}");
    }
}
