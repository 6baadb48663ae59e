//! What Usher says to people, in every language it speaks: one file each in `locales/`, embedded in the program.
//!
//! A text is a line in the list below and a line in each file. Pages and mails name it as a method with what is to be put
//! into it, so a page that names a text that does not exist does not compile. Must not know pages, mails or requests.

mod language;

pub use language::Language;

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use language::Number;

/// The texts of one language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    language: Language,
    texts: Texts,
    forms: Forms,
}

/// Declares the texts: a field of the file, and a method that fills in its `{placeholders}`.
macro_rules! texts {
    ($($name:ident($($value:ident),*);)+) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Texts {
            $($name: String,)+
        }

        /// Every text with its placeholders.
        const TEXTS: &[(&str, &[&str])] = &[$((stringify!($name), &[$(stringify!($value)),*])),+];

        #[expect(missing_docs, reason = "each says what its line in `locales/en.toml` says")]
        impl Words {
            $(pub fn $name(&self, $($value: &str),*) -> String {
                fill(&self.texts.$name, &[$((stringify!($value), $value)),*])
            })+

            /// The text of that name as it stands in the file.
            pub fn text(&self, name: &str) -> Option<&str> {
                match name {
                    $(stringify!($name) => Some(&self.texts.$name),)+
                    _ => None,
                }
            }

            /// The text of that name, filled in, for templates that are found at run time; `None` if it takes other values.
            pub fn named(&self, name: &str, values: &[&str]) -> Option<String> {
                match (name, values) {
                    $((stringify!($name), [$($value),*]) => Some(self.$name($($value),*)),)+
                    _ => None,
                }
            }
        }
    };
}

texts! {
    sandbox();
    reference(id);

    sign_in_title(app);
    sign_in_lead();
    email_label();
    email_fault();
    continue_button();
    signed_out_notice();
    not_signed_out_notice(address, button);

    code_title();
    code_lead(app, time);
    code_label();
    code_wrong();
    code_burnt();
    sign_in_button();
    over_title();
    over();
    elsewhere_title();
    elsewhere();

    welcome_title(app);
    press_button();
    link_used();
    link_expired();
    link_superseded();
    new_link_lead();
    new_link_button();
    new_link_sent();
    unknown_link_title();
    unknown_link();

    running();
    signed_out_title();
    signed_out();
    sign_out_title(app);
    sign_out_of_all_title();

    profile_title();
    given_name();
    family_name();
    nickname();
    phone_number();
    birthdate();
    language_label();
    save();
    saved();
    check_marked();
    required_fault();
    long_fault();
    phone_fault();
    birthdate_fault();
    other_fault();
    email_taken();
    phone_taken();
    sessions_title();
    session_since(time);
    this_browser();
    sign_out();
    sign_out_everywhere();
    data_title();
    data_lead();
    data_button();

    error_title();
    not_found_title();
    not_found();
    broken_title();
    broken();
    busy();
    too_many();
    frozen();
    deleted();
    cross_site();
    wrong_request();
    unreadable();
    stale();

    mail_hello();
    mail_hello_name(name);
    mail_welcome_subject(app);
    mail_welcome(app);
    mail_link_lifetime(time);
    mail_sign_in_subject(app);
    mail_sign_in(app);
    mail_code();
    mail_admin_subject();
    mail_admin();
    mail_both_lifetime(time);
    mail_fallback();
    mail_changed_subject(app);
    mail_changed(app);
    mail_changed_not_you(app);
    mail_gone_subject(app);
    mail_gone(webhook, app, environment);
    mail_gone_mend();
    mail_gone_contact();
}

/// What is put into the text of that name.
pub fn places(name: &str) -> &'static [&'static str] {
    TEXTS.iter().find(|(text, _)| *text == name).map_or(&[], |(_, places)| *places)
}

/// Another text in the place of the one of that name, filled in; `None` if that takes other values.
pub fn instead(name: &str, text: &str, values: &[&str]) -> Option<String> {
    let places = places(name);
    let pairs: Vec<(&str, &str)> = places.iter().copied().zip(values.iter().copied()).collect();
    (places.len() == values.len()).then(|| fill(text, &pairs))
}

/// What depends on a number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forms {
    hours: Plural,
    minutes: Plural,
    seconds: Plural,
    /// A day and an hour: `{day} {month} {year}, {clock} UTC`.
    time: String,
    /// The first day of a month, where it is not said by its number.
    first: Option<String>,
    months: [String; 12],
}

/// A text with `{n}`, by what the language tells apart in numbers (CLDR's plural categories).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plural {
    one: Option<String>,
    two: Option<String>,
    few: Option<String>,
    many: Option<String>,
    other: String,
}

impl Plural {
    fn of(&self, language: Language, n: u64) -> String {
        let form = match language.number(n) {
            Number::One => &self.one,
            Number::Two => &self.two,
            Number::Few => &self.few,
            Number::Many => &self.many,
            Number::Other => &None,
        };
        fill(form.as_ref().unwrap_or(&self.other), &[("n", &n.to_string())])
    }
}

impl Words {
    /// The words of a language.
    pub fn of(language: Language) -> &'static Words {
        static ALL: LazyLock<Vec<Words>> = LazyLock::new(|| {
            let read = |language: &Language| toml::from_str(language.file()).expect("the built-in texts are sound");
            Language::ALL.iter().map(read).collect()
        });
        &ALL[language as usize]
    }

    /// Whose words these are.
    pub fn language(&self) -> Language {
        self.language
    }

    /// `22 November 2026, 12:05 UTC`.
    pub fn time(&self, at: Timestamp) -> String {
        let (day, year) = (at.day().day(), at.day().year().to_string());
        let day = self.forms.first.clone().filter(|_| day == 1).unwrap_or_else(|| day.to_string());
        let month = &self.forms.months[usize::from(at.day().month().unsigned_abs()) - 1];
        let clock = at.to_string().get(11..16).unwrap_or_default().to_owned();
        fill(&self.forms.time, &[("day", &day), ("month", month), ("year", &year), ("clock", &clock)])
    }

    /// `24 hours`, `90 minutes`, `1 hour`: the largest unit that says it exactly.
    pub fn span(&self, span: Duration) -> String {
        let (form, n) = match span.as_secs() {
            s if s % 3600 == 0 => (&self.forms.hours, s / 3600),
            s if s % 60 == 0 => (&self.forms.minutes, s / 60),
            s => (&self.forms.seconds, s),
        };
        form.of(self.language, n)
    }
}

/// Puts values into the places of their names. What is put in is not looked at again.
fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        out.push_str(before);
        out.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    #[test]
    fn every_language_has_every_text_with_its_placeholders_and_no_other() {
        for language in Language::ALL {
            let file: toml::Table = toml::from_str(language.file()).unwrap();
            let texts = file["texts"].as_table().unwrap();
            let names: Vec<&str> = texts.keys().map(String::as_str).collect();
            let mut expected: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).collect();
            expected.sort_unstable();
            assert_eq!(names, expected, "{language:?}");
            for (name, values) in TEXTS {
                let (text, mut values) = (texts[*name].as_str().unwrap(), values.to_vec());
                values.sort_unstable();
                assert_eq!(placeholders(text), values, "{language:?} {name}");
                assert!(!text.trim().is_empty() && text.trim() == text, "{language:?} {name}");
            }
            assert_eq!(Words::of(*language).language(), *language);
        }
    }

    #[test]
    fn what_is_said_in_english_is_said_otherwise_elsewhere() {
        // Words that are the same in two languages.
        const SAME: &[&str] = &[];
        let all: Vec<toml::Table> = Language::ALL.iter().map(|l| toml::from_str(l.file()).unwrap()).collect();
        for (name, _) in TEXTS.iter().filter(|(name, _)| !SAME.contains(name)) {
            for other in &all[1..] {
                assert_ne!(all[0]["texts"][*name], other["texts"][*name], "{name} is not translated");
            }
        }
    }

    #[test]
    fn every_text_is_used() {
        fn read(below: &std::path::Path, into: &mut String) {
            for path in std::fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    read(&path, into);
                } else {
                    into.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
                }
            }
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut source = String::new();
        for below in ["src/ui", "src/mail", "templates"] {
            read(&root.join(below), &mut source);
        }
        let is_used = |name: &&str| source.contains(&format!(".{name}(")) || source.contains(&format!("Words::{name}"));
        let unused: Vec<&str> = TEXTS.iter().map(|(name, _)| *name).filter(|name| !is_used(name)).collect();
        assert_eq!(unused, Vec::<&str>::new());
    }

    #[test]
    fn portuguese_is_that_of_brazil_throughout() {
        let file = Language::Portuguese.file();
        for european in
            ["-lhe", "-nos ", "Grava", "gravado", "assinalado", "já não", "Entretanto", "ficheiro", "telemóvel"]
        {
            assert!(!file.contains(european), "{european}");
        }
    }

    #[test]
    fn a_value_that_looks_like_a_placeholder_stays_as_it_is() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
        assert_eq!(fill("no {end", &[]), "no {end");
    }

    #[test]
    fn numbers_are_said_as_each_language_says_them() {
        let say = |language, hours| Words::of(language).span(Duration::from_hours(hours));
        assert_eq!((say(Language::English, 1), say(Language::English, 24)), ("1 hour".into(), "24 hours".into()));
        assert_eq!((say(Language::German, 1), say(Language::German, 48)), ("1 Stunde".into(), "48 Stunden".into()));
        let arabic: Vec<String> = [1, 2, 3, 24, 100].iter().map(|n| say(Language::Arabic, *n)).collect();
        assert_eq!(arabic, ["ساعة واحدة", "ساعتين", "3 ساعات", "24 ساعة", "100 ساعة"]);
        let at = Timestamp::parse("2026-03-01T09:05:59Z").unwrap();
        assert_eq!(Words::of(Language::German).time(at), "1. März 2026, 09:05 Uhr UTC");
        assert_eq!(Words::of(Language::French).time(at), "1er mars 2026 à 09:05 UTC");
        let second = Timestamp::parse("2026-03-02T09:05:59Z").unwrap();
        assert_eq!(Words::of(Language::French).time(second), "2 mars 2026 à 09:05 UTC");
        assert_eq!(Words::of(Language::French).span(Duration::from_mins(10)), "10 minutes");
        assert_eq!(Words::of(Language::English).span(Duration::from_secs(61)), "61 seconds");
    }
}
