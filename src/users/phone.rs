//! Phone numbers: kept as sent, compared as E.164.

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};
use serde_json::{Value, json};

use crate::field::{Context, Fault, Field};

/// The longest spelling, in characters.
const MAX: usize = 64;
/// The fewest and the most digits.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A number and the form under which it is unique.
#[derive(Clone, PartialEq, Eq)]
pub struct Phone {
    number: String,
    key: String,
}

crate::secret::redacted!(Phone);

impl Phone {
    /// Reads a number, taking `region`'s country code where it has none; `None` if it is not one.
    ///
    /// The shape is contract item 8 (an optional `+`, 7 to 15 digits, separators); the number must also be
    /// *possible* in its country, not *valid*: the documented `1234567890` is possible only.
    pub fn new(text: &str, region: Region) -> Option<Phone> {
        let text = text.trim();
        if text.len() > MAX {
            return None;
        }
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let body = text.strip_prefix('+').unwrap_or(text);
        if !DIGITS.contains(&digits) || !body.chars().all(|c| c.is_ascii_digit() || " -.()".contains(c)) {
            return None;
        }
        let number = PHONE_NUMBER_UTIL.parse(text, Some(region)).ok()?;
        PHONE_NUMBER_UTIL.is_possible_number_with_reason(&number).ok()?;
        Some(Phone {
            number: text.to_owned(),
            key: PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164).into_owned(),
        })
    }

    /// A number as the database holds it.
    pub(super) fn stored(number: String, key: String) -> Phone {
        Phone { number, key }
    }

    /// As sent.
    pub fn number(&self) -> &str {
        &self.number
    }

    /// As it is read to the same number in every region: as sent if that has the country's code, else in E.164.
    pub fn anywhere(&self) -> &str {
        // With a country's code before it, a number can have more digits than are read.
        let is_read = DIGITS.contains(&self.key.trim_start_matches('+').len());
        if self.number.starts_with('+') || !is_read { &self.number } else { &self.key }
    }

    /// E.164, the form under which it is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl serde::Serialize for Phone {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.number)
    }
}

impl Field for Phone {
    fn parse(value: &Value, context: &Context) -> Result<Self, Fault> {
        value
            .as_str()
            .and_then(|text| Phone::new(text, context.region))
            .ok_or_else(|| Fault::sentence("format", "Invalid phone number"))
    }
    fn schema() -> Value {
        json!({"type": "string", "pattern": r"^\s*\+?[0-9 .()\-]+\s*$", "minLength": 7, "maxLength": MAX})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_have_one_key() {
        let key = |text| Phone::new(text, Region::US).map(|p| p.key);
        assert_eq!(key("1234567890"), Some("+11234567890".into()));
        for spelling in ["123 456 7890", "(123) 456-7890", "+1 123.456.7890", " +11234567890 "] {
            assert_eq!(key(spelling), key("1234567890"), "{spelling}");
        }
        assert_eq!(Phone::new("030 123456", Region::DE).unwrap().key, "+4930123456");
        assert_ne!(key("2025550123"), key("2025550124"));
    }

    #[test]
    fn a_number_is_written_so_that_it_is_the_same_in_every_region() {
        for (text, written) in [
            ("030 123456", "+4930123456"),
            ("+49 (30) 123-456", "+49 (30) 123-456"),
            ("+1 202 555 0101", "+1 202 555 0101"),
            ("0049 30 123456", "+4930123456"),
        ] {
            let phone = Phone::new(text, Region::DE).unwrap();
            assert_eq!(phone.anywhere(), written);
            assert_eq!(Phone::new(phone.anywhere(), Region::US).map(|read| read.key), Some(phone.key), "{text}");
        }
        let long = Phone::stored("030123456789012".into(), "+4930123456789012".into());
        assert_eq!(long.anywhere(), "030123456789012", "what would not be read is left as it is");
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in [
            "",
            "123456",
            "abcdefgh",
            "1234567890123456",
            "++11234567890",
            "1+234567890",
            "123-456-7890 x5",
            "１２３４５６７８９０",
            "+999 1234567",
        ] {
            assert!(Phone::new(text, Region::US).is_none(), "{text:?} was accepted");
        }
    }
}
