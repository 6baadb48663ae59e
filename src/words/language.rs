//! The languages that Usher speaks, and which of them somebody reads.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::users::Profile;

/// Declares the languages: tag, file, and the countries whose code stands for the language where an app names only that.
macro_rules! languages {
    ($($(#[$doc:meta])* $name:ident = $tag:literal $own_name:literal $countries:literal,)+) => {
        /// A language.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Language { $($(#[$doc])* #[serde(rename = $tag)] $name,)+ }

        impl Language {
            /// Every language.
            pub const ALL: &'static [Language] = &[$(Language::$name),+];

            /// The tag (RFC 5646).
            pub fn tag(self) -> &'static str {
                match self { $(Language::$name => $tag),+ }
            }

            /// What it calls itself.
            pub fn own_name(self) -> &'static str {
                match self { $(Language::$name => $own_name),+ }
            }

            fn countries(self) -> &'static str {
                match self { $(Language::$name => $countries),+ }
            }

            pub(super) fn file(self) -> &'static str {
                match self { $(Language::$name => include_str!(concat!("../../locales/", $tag, ".toml"))),+ }
            }
        }
    };
}

languages! {
    /// English.
    #[default]
    English = "en" "English" "US GB AU NZ IE CA ZA IN",
    /// German.
    German = "de" "Deutsch" "DE AT CH LI",
    /// Spanish.
    Spanish = "es" "Español" "ES MX AR BO CL CO CR CU DO EC GT HN NI PA PE PR PY SV UY VE",
    /// French.
    French = "fr" "Français" "FR BE LU MC BF BJ CI CD CG CM GA GN ML NE SN TG",
    /// Portuguese.
    Portuguese = "pt" "Português" "PT BR AO CV GW MZ ST TL",
    /// Arabic.
    Arabic = "ar" "العربية" "AE BH DZ EG IQ JO KW LB LY MA MR OM PS QA SA SD SY TN YE",
}

/// What a language may tell apart in numbers.
pub(super) enum Number {
    One,
    Two,
    Few,
    Many,
    Other,
}

impl Language {
    /// Where its lines begin, as HTML says it.
    pub fn direction(self) -> &'static str {
        if self == Language::Arabic { "rtl" } else { "ltr" }
    }

    /// The language of a tag, whatever else stands in that: `pt-BR`, `de_AT`.
    pub fn of_tag(tag: &str) -> Option<Language> {
        let primary = tag.split(['-', '_']).next().unwrap_or(tag);
        Language::ALL.iter().copied().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// What somebody wants: the language of a tag, or none if the text is empty.
    ///
    /// # Errors
    /// It is none that Usher speaks.
    pub fn wanted(tag: &str) -> Result<Option<Language>> {
        if tag.is_empty() {
            return Ok(None);
        }
        let tags: Vec<&str> = Language::ALL.iter().map(|language| language.tag()).collect();
        let unknown = || Error::operator(format!("the language must be one of: {}.", tags.join(", ")));
        Language::of_tag(tag).map(Some).ok_or_else(unknown)
    }

    /// The language that a person is written to in, as far as that is known: `language`, which official clients send as a
    /// country (`DE`; contract A7) and others as a tag, else `locale`.
    pub fn of_person(profile: &Profile) -> Option<Language> {
        let named = |text: &str| Language::of_country(text).or_else(|| Language::of_tag(text));
        let (language, locale) = (profile.language.as_ref(), profile.locale.as_ref());
        language.and_then(|line| named(line.0.trim())).or_else(|| locale.and_then(|line| named(line.0.trim())))
    }

    fn of_country(code: &str) -> Option<Language> {
        Language::ALL.iter().copied().find(|language| language.countries().split(' ').any(|country| country == code))
    }

    /// The first of these tags that Usher speaks, separated by spaces (OpenID Connect Core 3.1.2.1, `ui_locales`).
    pub fn of_list(tags: &str) -> Option<Language> {
        tags.split(' ').find_map(Language::of_tag)
    }

    /// The best of what a browser asks for (RFC 9110 12.5.4, `Accept-Language`).
    pub fn of_browser(header: &str) -> Option<Language> {
        let weighed = |range: &str| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.parse::<f32>().ok())?;
            Some((Language::of_tag(tag.trim())?, weight)).filter(|(_, weight)| *weight > 0.0)
        };
        // Of equal weights the first.
        let best = header.split(',').filter_map(weighed).reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.map(|(language, _)| language)
    }

    pub(super) fn number(self, n: u64) -> Number {
        match (self, n) {
            (Language::Arabic, 2) => Number::Two,
            (Language::Arabic, _) if (3..=10).contains(&(n % 100)) => Number::Few,
            (Language::Arabic, _) if n % 100 > 10 => Number::Many,
            (Language::French | Language::Portuguese, 0) | (_, 1) => Number::One,
            _ => Number::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Line;

    #[test]
    fn a_browser_is_answered_in_what_it_wants_most() {
        for (header, expected) in [
            ("de-AT,de;q=0.9,en;q=0.8", Some(Language::German)),
            ("en;q=0.5, ar ;q=0.9", Some(Language::Arabic)),
            ("nl, pt-BR;q=0.3", Some(Language::Portuguese)),
            ("fr;q=0, es;q=0.1", Some(Language::Spanish)),
            ("ES;q=x, fr", Some(Language::French)),
            ("*", None),
            ("nl", None),
            ("", None),
        ] {
            assert_eq!(Language::of_browser(header), expected, "{header}");
        }
    }

    #[test]
    fn a_person_is_written_to_in_their_language_named_as_a_country_or_a_tag() {
        let of = |language: &str, locale: &str| {
            let (language, locale) = (Some(Line(language.to_owned())), Some(Line(locale.to_owned())));
            Language::of_person(&Profile { language, locale, ..Profile::default() })
        };
        for (text, expected) in [
            ("DE", Some(Language::German)),
            ("de", Some(Language::German)),
            ("BR", Some(Language::Portuguese)),
            ("US", Some(Language::English)),
            ("EN", Some(Language::English)),
            ("ar", Some(Language::Arabic)),
            // Argentina.
            ("AR", Some(Language::Spanish)),
            ("fr_CA", Some(Language::French)),
            ("NL", None),
            ("", None),
        ] {
            assert_eq!(of(text, ""), expected, "{text}");
        }
        assert_eq!(of("nl", "es-MX"), Some(Language::Spanish));
        assert_eq!(of("de", "es-MX"), Some(Language::German));
    }

    #[test]
    fn no_country_stands_for_two_languages() {
        let mut all: Vec<&str> = Language::ALL.iter().flat_map(|language| language.countries().split(' ')).collect();
        let number = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), number);
    }
}
