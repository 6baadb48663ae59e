//! What an app says in its mails in place of the words that Usher has: one set of texts for a kind of mail and a language.
//!
//! Words alone. Where the link, the code and the button stand is the mail's template's business, so no text can lose them.
//! Must not know how a mail is made.

mod store;

pub use store::of;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::apps::{self, AppId};
use crate::audit::{self, Action, Changes};
use crate::caller::Origin;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, FieldError, Result};
use crate::outbox::Kind;
use crate::words::{Language, Words, places};

/// A text of a mail.
#[derive(Debug)]
pub struct Text {
    /// Its name in `locales/*.toml`.
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// How many characters it may have.
    pub longest: usize,
}

const fn text(name: &'static str, label: &'static str, longest: usize) -> Text {
    Text { name, label, longest }
}

const ENROLMENT: &[Text] = &[
    text("mail_welcome_subject", "Subject", 120),
    text("mail_hello_name", "Greeting", 80),
    text("mail_hello", "Greeting of whose name is not known", 80),
    text("mail_welcome", "What it is about", 500),
    text("sign_in_button", "Button", 40),
    text("mail_link_lifetime", "How long the link works", 500),
    text("mail_fallback", "If the button does not work", 300),
];

const SIGN_IN: &[Text] = &[
    text("mail_sign_in_subject", "Subject", 120),
    text("mail_hello_name", "Greeting", 80),
    text("mail_hello", "Greeting of whose name is not known", 80),
    text("mail_sign_in", "What it is about", 500),
    text("sign_in_button", "Button", 40),
    text("mail_code", "Before the code", 300),
    text("mail_both_lifetime", "How long link and code work", 500),
    text("mail_fallback", "If the button does not work", 300),
];

const ADDRESS_CHANGED: &[Text] = &[
    text("mail_changed_subject", "Subject", 120),
    text("mail_hello_name", "Greeting", 80),
    text("mail_hello", "Greeting of whose name is not known", 80),
    text("mail_changed", "What has happened", 500),
    text("mail_changed_not_you", "What to do", 500),
];

const WEBHOOK_GONE: &[Text] = &[
    text("mail_gone_subject", "Subject", 120),
    text("mail_hello", "Greeting", 80),
    text("mail_gone", "What has happened", 500),
    text("mail_gone_mend", "What to do", 500),
    text("mail_gone_contact", "Why they get the mail", 300),
];

/// A kind of mail in a language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The kind.
    pub kind: Kind,
    /// The language.
    pub language: Language,
}

impl Template {
    /// The kinds of mail that an app has words for. The mail to an administrator is the installation's, and no app's.
    pub const KINDS: &'static [Kind] =
        &[Kind::EnrolmentMail, Kind::SignInMail, Kind::AddressChangedMail, Kind::WebhookGoneMail];

    /// Every one.
    pub fn all() -> impl Iterator<Item = Template> {
        let of = |kind: &'static Kind| {
            Language::ALL.iter().map(move |language| Template { kind: *kind, language: *language })
        };
        Template::KINDS.iter().flat_map(of)
    }

    /// The template of these words.
    ///
    /// # Errors
    /// There is none.
    pub fn named(kind: &str, language: &str) -> Result<Template> {
        let found = Kind::named(kind).filter(|kind| Template::KINDS.contains(kind));
        let kinds: Vec<&str> = Template::KINDS.iter().map(|kind| kind.as_str()).collect();
        let unknown = || Error::operator(format!("there is no such mail to word; there are {}.", kinds.join(", ")));
        let kind = found.ok_or_else(unknown)?;
        let language = Language::wanted(language)?.ok_or_else(|| Error::operator("a language must be named."))?;
        Ok(Template { kind, language })
    }

    /// Its texts, in the order in which they are read.
    pub fn texts(self) -> &'static [Text] {
        match self.kind {
            Kind::EnrolmentMail => ENROLMENT,
            Kind::SignInMail => SIGN_IN,
            Kind::AddressChangedMail => ADDRESS_CHANGED,
            Kind::WebhookGoneMail => WEBHOOK_GONE,
            _ => &[],
        }
    }

    /// Whether it greets by name whose name is known.
    pub fn greets_by_name(self) -> bool {
        self.texts().iter().any(|text| text.name == "mail_hello_name")
    }

    /// What Usher says there.
    pub fn shipped(self, text: &Text) -> &'static str {
        Words::of(self.language).text(text.name).unwrap_or_default()
    }

    /// Reads texts by their names. One that is empty, or what Usher says anyway, is left to Usher.
    pub fn read<'a>(self, said: impl Fn(&str) -> Option<&'a str>) -> Draft {
        let mut draft = Draft::default();
        for text in self.texts() {
            let words = said(text.name).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            if words.is_empty() || words == self.shipped(text) {
                continue;
            }
            match judge(text, &words) {
                Ok(()) => {
                    draft.wording.0.insert(text.name.to_owned(), words);
                }
                Err((code, rule)) => {
                    let message = format!("{}: {rule}", text.label);
                    draft.faults.push(FieldError { field: text.name.to_owned(), code, message });
                }
            }
        }
        draft
    }
}

/// An app's own texts of a template, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording(BTreeMap<String, String>);

impl Wording {
    /// The text in the place of the one of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Every text with its name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Whether all is left to Usher.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn show(&self, template: Template) -> Value {
        let at = |name: &str| format!("{}/{}/{name}", template.kind.as_str(), template.language.tag());
        Value::Object(self.texts().map(|(name, text)| (at(name), text.into())).collect::<Map<_, _>>())
    }
}

/// Texts that somebody has written, and what is wrong with some.
#[derive(Debug, Default)]
pub struct Draft {
    /// Those that will do.
    pub wording: Wording,
    /// The others.
    pub faults: Vec<FieldError>,
}

impl Draft {
    /// The texts, if all will do.
    ///
    /// # Errors
    /// Every one that is wrong.
    pub fn sound(self) -> Result<Wording> {
        if self.faults.is_empty() { Ok(self.wording) } else { Err(Error::Invalid(self.faults)) }
    }
}

/// Whether a text will do, or the code and the rule that it breaks.
fn judge(text: &Text, words: &str) -> std::result::Result<(), (&'static str, String)> {
    let known = places(text.name);
    let count = words.chars().count();
    if count > text.longest {
        return Err(("too_long", format!("{count} characters are too many; {} fit.", text.longest)));
    }
    if words.contains(['<', '>']) || words.chars().any(char::is_control) {
        return Err(("format", "write plain words; HTML is not possible here, nor are < and >.".to_owned()));
    }
    let used = used(words).ok_or_else(|| {
        ("format", "a { or } stands alone; what is filled in stands between two of them, like {app}.".to_owned())
    })?;
    if let Some(unknown) = used.iter().find(|name| !known.contains(name)) {
        let known: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
        let known = if known.is_empty() { "nothing is".to_owned() } else { format!("only {} is", known.join(" or ")) };
        return Err(("format", format!("{{{unknown}}} is not known here; {known} filled in.")));
    }
    // How the app is called can be seen anyway; how long a link works cannot.
    match known.iter().find(|name| **name != "app" && !used.contains(name)) {
        Some(missing) => Err(("required", format!("{{{missing}}} is missing; it has to stand somewhere in the text."))),
        None => Ok(()),
    }
}

/// The names between braces; `None` if those do not come in pairs.
fn used(words: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = words;
    while let Some(at) = rest.find(['{', '}']) {
        let (name, after) = rest[at..].strip_prefix('{')?.split_once('}')?;
        if name.contains('{') {
            return None;
        }
        names.push(name);
        rest = after;
    }
    Some(names)
}

/// Has an app say this in its mails from now on. A template without texts is Usher's again.
///
/// # Errors
/// There is no such app.
pub fn set(tx: &Tx, origin: Origin, app: AppId, template: Template, wording: &Wording) -> Result<()> {
    let before = of(tx, app, template)?;
    if before == *wording {
        return Ok(());
    }
    store::set(tx, app, template, wording)?;
    let changes = Changes::between(&before.show(template), &wording.show(template));
    for kind in apps::Kind::ALL {
        let environment = apps::environment(tx, app, *kind)?;
        audit::record_changes(tx, environment.id, origin, Action::MailWorded, app.0, &changes)?;
    }
    Ok(())
}

/// Every template, and since when the app has words of its own there.
///
/// # Errors
/// The database does not answer.
pub fn list(tx: &Tx, app: AppId) -> Result<Vec<(Template, Option<Timestamp>)>> {
    let own = store::changed(tx, app)?;
    Ok(Template::all()
        .map(|template| (template, own.iter().find(|(own, _)| *own == template).map(|(_, at)| *at)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELCOME: Template = Template { kind: Kind::EnrolmentMail, language: Language::German };

    fn read(name: &'static str, words: &'static str) -> Draft {
        WELCOME.read(move |asked| (asked == name).then_some(words))
    }

    #[test]
    fn a_text_that_would_break_a_mail_is_refused_with_what_to_do() {
        for (name, words, rule) in [
            ("mail_welcome", "Hallo {nmae}", "{nmae} is not known here; only {app} is filled in."),
            ("mail_hello", "Hallo {name}", "nothing is filled in"),
            ("mail_link_lifetime", "Der Link gilt einmal.", "{time} is missing"),
            ("mail_hello_name", "Hallo!", "{name} is missing"),
            ("mail_welcome", "Hallo {app", "stands alone"),
            ("mail_welcome", "Hallo }", "stands alone"),
            ("mail_welcome", "Hallo {{app}}", "stands alone"),
            ("mail_welcome", "Hallo <b>{app}</b>", "HTML is not possible"),
            ("mail_welcome", "Hallo\u{7}", "plain words"),
            ("sign_in_button", "Hier geht es zu dem, was wir für Sie vorbereitet haben", "40 fit"),
        ] {
            let draft = read(name, words);
            assert!(draft.wording.is_empty() && draft.faults[0].field == name, "{words}");
            assert!(draft.faults[0].message.contains(rule), "{}", draft.faults[0].message);
            assert!(matches!(draft.sound(), Err(Error::Invalid(_))));
        }
    }

    #[test]
    fn what_is_sound_is_kept_and_what_usher_says_anyway_is_left_to_it() {
        for (name, words) in [
            ("mail_welcome", "Schön, dass Sie da sind."),
            ("mail_welcome", "{app}: {app}"),
            ("mail_link_lifetime", "Er gilt {time}."),
        ] {
            assert_eq!(read(name, words).sound().unwrap().get(name), Some(words));
        }
        assert_eq!(read("mail_welcome", " Zwei\r\n Zeilen ").sound().unwrap().get("mail_welcome"), Some("Zwei Zeilen"));
        for words in ["", " ", "Anmelden"] {
            assert!(read("sign_in_button", words).sound().unwrap().is_empty(), "{words}");
        }
        assert!(read("mail_admin", "x").sound().unwrap().is_empty(), "no text of this mail");
    }

    #[test]
    fn every_text_that_usher_ships_would_do() {
        for template in Template::all() {
            for text in template.texts() {
                assert_eq!(judge(text, template.shipped(text)), Ok(()), "{template:?} {}", text.name);
            }
        }
    }

    /// What the template files of a kind say.
    #[test]
    fn a_template_has_the_texts_that_its_mail_says_and_no_others() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/mail");
        let file = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
        for kind in Template::KINDS.iter().copied() {
            // The greeting of the layout stands in the plain part too.
            let own = ["subject.txt", "body.txt", "body.html"].map(|part| file(&format!("{}/{part}", kind.as_str())));
            let mut all = own.concat();
            for part in ["button.html", "fallback.html"] {
                if own[2].contains(part) {
                    all.push_str(&file(part));
                }
            }
            let mut said: Vec<&str> = all.split("words.").skip(1).filter_map(|rest| rest.split('(').next()).collect();
            said.sort_unstable();
            said.dedup();
            let mut names: Vec<&str> =
                Template { kind, language: Language::English }.texts().iter().map(|text| text.name).collect();
            names.sort_unstable();
            assert_eq!(names, said, "{kind:?}");
        }
    }
}
