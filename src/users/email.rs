//! E-mail addresses: kept as sent, compared after normalisation.

use std::sync::LazyLock;

use email_address::{EmailAddress, Options};
use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::{Value, json};

use crate::field::{Context, Fault, Field};

/// The longest address, in characters (contract A7).
const MAX: usize = 512;
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();

/// An address and the form under which it is unique.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// As sent, trimmed and in Unicode NFKC. Mail goes here.
    address: String,
    /// Case-folded, with the domain as an A-label. Two addresses are the same when their keys are.
    key: String,
}

crate::secret::redacted!(Email);

impl Email {
    /// Reads an address; `None` if it is not one.
    ///
    /// Normalising comes before validating, so what was judged is what is stored and used.
    pub fn new(text: &str) -> Option<Email> {
        static OPTIONS: LazyLock<Options> =
            LazyLock::new(|| Options::default().with_required_tld().without_display_text().without_domain_literal());
        let text = text.trim();
        if text.chars().count() > MAX || text.chars().any(|c| c.is_control() || is_invisible(c)) {
            return None;
        }
        let address = NFKC.normalize(text).trim().to_owned();
        let (local, domain) = address.rsplit_once('@')?;
        let ascii_domain = idna::domain_to_ascii_strict(domain).ok()?;
        let key = format!("{}@{ascii_domain}", fold(local));
        EmailAddress::parse_with_options(&key, *OPTIONS).ok()?;
        // An IP address is not a domain, and no top-level domain is a number.
        if ascii_domain.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        // Quoted local parts are legal and nobody has one; `a@b"@c` tricks live there.
        if local.contains(['"', '@', '\\', ' ', '<', '>', ',', ';', ':', '(', ')', '[', ']']) {
            return None;
        }
        Some(Email { address, key })
    }

    /// An address as the database holds it.
    pub(super) fn stored(address: String, key: String) -> Email {
        Email { address, key }
    }

    /// What the keys of addresses begin with that begin so. A label of the domain beyond ASCII is taken for a whole one: what its
    /// A-label begins with cannot be known from a part of it.
    pub(super) fn beginning(text: &str) -> String {
        let text = NFKC.normalize(text.trim());
        let Some((local, domain)) = text.split_once('@') else { return fold(&text) };
        let label = |label: &str| match idna::domain_to_ascii_strict(label) {
            Ok(known) if !label.is_ascii() => known,
            _ => label.to_lowercase(),
        };
        format!("{}@{}", fold(local), domain.split('.').map(label).collect::<Vec<_>>().join("."))
    }

    /// As sent; mail goes here.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The form under which it is unique.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether both reach one mailbox for certain. Folding makes more equal than mail servers do (`ß` and `ss`), so
    /// this is narrower than having one key.
    pub fn same_mailbox(&self, other: &Email) -> bool {
        let local = |email: &Email| email.address.rsplit_once('@').map(|(local, _)| local.to_ascii_lowercase());
        self.key == other.key && local(self) == local(other)
    }
}

/// A local part as keys have it.
fn fold(local: &str) -> String {
    NFKC.normalize(&CaseMapper::new().fold_string(local)).into_owned()
}

/// Characters that change how an address looks, or hide, without being seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

impl serde::Serialize for Email {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.address)
    }
}

impl Field for Email {
    fn parse(value: &Value, _: &Context) -> Result<Self, Fault> {
        value.as_str().and_then(Email::new).ok_or_else(|| Fault::sentence("format", "Invalid email address"))
    }
    fn schema() -> Value {
        json!({"type": "string", "format": "email", "maxLength": MAX})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_have_one_key() {
        let jane = Email::new("jane@doe.com").unwrap();
        for spelling in
            [" jane@doe.com ", "JANE@DOE.COM", "jane@doe.com", "jane＠doe.com", "Jane@Doe.Com\t", "ja\u{FF4E}e@doe.com"]
        {
            assert_eq!(Email::new(spelling).map(|e| e.key), Some(jane.key.clone()), "{spelling:?}");
        }
        assert_eq!(Email::new("k@bücher.example").unwrap().key(), "k@xn--bcher-kva.example");
        assert_eq!(Email::new("\u{212A}@bücher.example").unwrap().key(), Email::new("k@BÜCHER.example").unwrap().key());
        // Dotless i is another letter, not a spelling of i.
        assert_ne!(Email::new("m\u{131}ke@doe.com").unwrap().key(), "mike@doe.com");
    }

    #[test]
    fn what_is_stored_reads_back_as_itself() {
        for text in ["Jane.Doe+tag@Example.COM", "jürgen@müller.example", "straße@straße.example", "Σίσυφος@doe.com"]
        {
            let once = Email::new(text).unwrap();
            assert_eq!(Email::new(once.address()).as_ref(), Some(&once), "{text}");
            assert_eq!(Email::new(once.key()).unwrap().key(), once.key(), "{text}");
        }
    }

    #[test]
    fn the_key_of_an_address_begins_as_its_beginning_does() {
        for (address, beginnings) in [
            ("Straße@doe.com", &["STRAß", "strasse@", "ＳＴＲ", "straße＠Doe.c"] as &[_]),
            ("jürgen@bücher.example.com", &["Ju\u{308}r", "jürgen@bücher", "JÜRGEN@BÜCHER.EX", "jürgen@xn--bch"]),
            ("Σίσυφος@doe.com", &["ΣΊΣΥΦΟΣ", "σίσυφοσ@"]),
            ("jane@doe.com", &["Jane@", "jane@doe.", "jane@doe.com"]),
        ] {
            let key = Email::new(address).unwrap().key;
            for text in beginnings {
                assert!(key.starts_with(&Email::beginning(text)), "{text:?}: {}", Email::beginning(text));
            }
        }
        assert_eq!(Email::beginning("jürgen@büch"), "jürgen@xn--bch-hoa", "a part of a label is another label");
        assert_eq!(Email::beginning("k@-.x_"), "k@-.x_");
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            " ",
            "jane",
            "jane@",
            "@doe.com",
            "jane@doe",
            "jane@doe..com",
            "jane doe@doe.com",
            "a@x.com,b@y.com",
            "<a@x.com>",
            "Jane <jane@doe.com>",
            "a@x.com\r\nBcc: b@y.com",
            "jane@doe.com\0",
            "a@[127.0.0.1]",
            "a\u{200B}@doe.com",
            "jane@doe.com.",
            "\"a b\"@doe.com",
            "a@x%0acc:b",
            "jane@doe_x.com",
            "a@1.2.3.4",
            ".jane@doe.com",
        ] {
            assert!(Email::new(text).is_none(), "{text:?} was accepted");
        }
        assert!(Email::new(&format!("{}@doe.com", "a".repeat(65))).is_none());
        assert!(Email::new(&format!("a@{}.com", "a".repeat(600))).is_none());
    }
}
