//! Mail: from an outbox job to a message with a text and an HTML part, by the templates in `templates/mail/`.
//!
//! Everything a person or partner chose is escaped here. Knows nothing of how a message travels.

pub mod sender;
pub mod transport;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use minijinja::value::{Object, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, context};
use serde_json::json;
use url::Url;

use crate::apps::{self, EnvironmentId};
use crate::audit::{self, Action, INSTALLATION};
use crate::caller::Origin;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::outbox::{self, Job, Kind, State};
use crate::users::User;
use crate::wording::{self, Template, Wording};
use crate::words::{self, Language, Words};

/// A mail to be written.
pub struct Letter<'a> {
    /// What it is for.
    pub kind: Kind,
    /// The link in it, if there is one.
    pub link: Option<&'a Url>,
    /// The code in it.
    pub code: Option<String>,
    /// How long they work.
    pub lifetime: Duration,
    /// The language of the person's browser, if they asked for the mail: theirs, unless their record says another. Of whom
    /// neither is known, the app's is.
    pub language: Option<Language>,
}

/// Writes a mail to a user, in their language, with the change that causes it.
///
/// # Errors
/// The database refuses.
pub fn post(tx: &Tx, user: &User, environment: &apps::Environment, letter: &Letter) -> Result<()> {
    let language = Language::of_person(&user.person.profile).or(letter.language);
    let payload = json!({
        "to": user.email.address(),
        "name": user.person.profile.given_name.as_ref().map(|name| name.0.as_str()),
        "app": environment.app_name,
        "language": language,
        "link": letter.link.map(Url::as_str),
        "code": letter.code,
        "lifetime_seconds": letter.lifetime.as_secs(),
    });
    outbox::enqueue(tx, user, letter.kind, &payload)
}

/// Tells a person at the address that they had before that it was changed, and not to which. `before` is who they were, also by
/// name: whoever has changed the address may have changed that too.
///
/// # Errors
/// The database refuses.
pub fn post_address_changed(tx: &Tx, before: &User) -> Result<()> {
    let kind = Kind::AddressChangedMail;
    let letter = Letter { kind, link: None, code: None, lifetime: Duration::ZERO, language: None };
    post(tx, before, &apps::by_id(tx, before.environment)?, &letter)
}

/// A message ready to go.
#[derive(Clone)]
pub struct Mail {
    /// The one recipient.
    pub to: String,
    /// The subject, one line.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// Its language.
    pub language: Language,
    /// The links in it.
    pub links: Vec<String>,
}

crate::secret::redacted!(Mail);

/// The template files, by the kind of mail.
const TEMPLATES: &[(&str, &str)] = &[
    ("layout.html", include_str!("../../templates/mail/layout.html")),
    ("button.html", include_str!("../../templates/mail/button.html")),
    ("fallback.html", include_str!("../../templates/mail/fallback.html")),
    ("enrolment/subject.txt", include_str!("../../templates/mail/enrolment/subject.txt")),
    ("enrolment/body.txt", include_str!("../../templates/mail/enrolment/body.txt")),
    ("enrolment/body.html", include_str!("../../templates/mail/enrolment/body.html")),
    ("sign_in/subject.txt", include_str!("../../templates/mail/sign_in/subject.txt")),
    ("sign_in/body.txt", include_str!("../../templates/mail/sign_in/body.txt")),
    ("sign_in/body.html", include_str!("../../templates/mail/sign_in/body.html")),
    ("address_changed/subject.txt", include_str!("../../templates/mail/address_changed/subject.txt")),
    ("address_changed/body.txt", include_str!("../../templates/mail/address_changed/body.txt")),
    ("address_changed/body.html", include_str!("../../templates/mail/address_changed/body.html")),
    ("admin_sign_in/subject.txt", include_str!("../../templates/mail/admin_sign_in/subject.txt")),
    ("admin_sign_in/body.txt", include_str!("../../templates/mail/admin_sign_in/body.txt")),
    ("admin_sign_in/body.html", include_str!("../../templates/mail/admin_sign_in/body.html")),
    ("webhook_gone/subject.txt", include_str!("../../templates/mail/webhook_gone/subject.txt")),
    ("webhook_gone/body.txt", include_str!("../../templates/mail/webhook_gone/body.txt")),
    ("webhook_gone/body.html", include_str!("../../templates/mail/webhook_gone/body.html")),
];

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|name| if name.ends_with("html") { AutoEscape::Html } else { AutoEscape::None });
    for (name, source) in TEMPLATES {
        engine.add_template(name, source).expect("the built-in templates are sound");
    }
    engine
});

/// What a mail tells.
#[derive(Default)]
struct Content {
    to: String,
    language: Language,
    name: Option<String>,
    app: Option<String>,
    link: Option<String>,
    code: Option<String>,
    lifetime: Duration,
    environment: Option<String>,
    webhook: Option<String>,
}

/// The message of a job; `None` once the job is done and what it was made from is wiped.
///
/// # Errors
/// The job is not a mail, a template fails, or the database does not answer.
pub fn render(tx: &Tx, job: &Job) -> Result<Option<Mail>> {
    let text = |name: &str| job.payload.as_ref().and_then(|payload| payload.text(name)).map(str::to_owned);
    let Some(to) = text("to").filter(|_| !matches!(job.state, State::Sent | State::Withdrawn)) else { return Ok(None) };
    let app = (job.environment != INSTALLATION).then(|| apps::by_id(tx, job.environment)).transpose()?;
    let language = job.payload.as_ref().and_then(|payload| payload.0.get("language"));
    let language: Option<Language> = language.and_then(|tag| serde_json::from_value(tag.clone()).ok()).flatten();
    let language = language.or(app.as_ref().and_then(|app| app.language)).unwrap_or_default();
    let seconds = job.payload.as_ref().and_then(|payload| payload.0.get("lifetime_seconds")?.as_u64());
    let template = Template { kind: job.kind, language };
    let wording = app.as_ref().map(|app| wording::of(tx, app.app, template)).transpose()?.unwrap_or_default();
    let content = Content {
        to,
        language,
        name: text("name").filter(|name| is_plain_name(name)),
        app: text("app"),
        link: text("link"),
        code: text("code"),
        lifetime: Duration::from_secs(seconds.unwrap_or_default()),
        environment: text("environment"),
        webhook: text("webhook"),
    };
    compose(job.kind, content, app.as_ref(), wording).map(Some)
}

/// What a mail to nobody is made with.
pub struct Sample<'a> {
    /// The link in it, which should lead nowhere.
    pub link: &'a Url,
    /// What nobody is called.
    pub name: Option<&'a str>,
    /// How long links work.
    pub lifetime: Duration,
}

/// How the mails of a template look with these words, by an example.
///
/// # Errors
/// A template fails.
pub fn sample(app: &apps::Environment, template: Template, wording: Wording, sample: &Sample) -> Result<Mail> {
    let content = Content {
        language: template.language,
        name: sample.name.filter(|_| template.greets_by_name()).map(str::to_owned),
        app: Some(app.app_name.clone()),
        link: Some(sample.link.to_string()),
        code: Some("123456".to_owned()),
        lifetime: sample.lifetime,
        environment: Some(app.kind.as_str().to_owned()),
        webhook: Some(uuid::Uuid::nil().to_string()),
        ..Content::default()
    };
    compose(template.kind, content, Some(app), wording)
}

fn compose(kind: Kind, content: Content, app: Option<&apps::Environment>, wording: Wording) -> Result<Mail> {
    if !Kind::MAILS.contains(&kind) {
        return Err(Error::internal("this job is not a mail"));
    }
    let (words, link) = (Words::of(content.language), content.link.as_deref());
    let color = app.and_then(|app| app.color).unwrap_or(apps::Color::OURS);
    let values = context! {
        words => Value::from_object(Say(words, wording)),
        language => content.language.tag(),
        direction => content.language.direction(),
        name => content.name,
        app => content.app,
        color => color.to_string(),
        on_color => color.text(),
        logo => app.and_then(|app| picture(app.logo.as_deref()?, link?)),
        link,
        code => content.code,
        lifetime => words.span(content.lifetime),
        environment => content.environment,
        webhook => content.webhook,
    };
    let part = |file: &str| {
        let template = ENGINE.get_template(&format!("{}/{file}", kind.as_str())).map_err(Error::internal)?;
        template.render(&values).map_err(Error::internal)
    };
    let subject = part("subject.txt")?.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, html, links) = (part("body.txt")?, part("body.html")?, content.link.iter().cloned().collect());
    Ok(Mail { to: content.to, subject, text, html, language: content.language, links })
}

/// Where a logo is, beside where a link leads; nowhere without TLS, for mail programs would not load it, or warn. The
/// address is the same for everybody, so that it tells nobody who has opened a mail.
fn picture(logo: &str, link: &str) -> Option<String> {
    let link = Url::parse(link).ok().filter(|link| link.scheme() == "https")?;
    link.join(&format!("/brand/{logo}")).ok().map(String::from)
}

/// A mail that says nothing but that mail can be sent.
pub fn test(to: &str) -> Mail {
    let text = "This is a test: Usher can send mail. There is nothing to do.";
    let html = format!("<!doctype html><html lang=\"en\"><title>A test</title><body><p>{text}</p></body></html>");
    let (to, subject) = (to.to_owned(), "A test from Usher".to_owned());
    Mail { to, subject, text: format!("{text}\n"), html, language: Language::default(), links: Vec::new() }
}

/// Notes that somebody has a test mail sent.
///
/// # Errors
/// The database refuses.
pub fn note_test(tx: &Tx, environment: EnvironmentId, origin: Origin) -> Result<()> {
    audit::record(tx, environment, origin, Action::MailTested, environment.0)
}

/// The texts of a language in a template, as in those of pages: `{{ words.mail_hello_name(name) }}`; or what an app says
/// instead.
struct Say(&'static Words, Wording);

crate::secret::redacted!(Say);

impl Object for Say {
    fn call_method(
        self: &Arc<Self>,
        _: &mut minijinja::State<'_, '_>,
        method: &str,
        values: &[Value],
    ) -> std::result::Result<Value, minijinja::Error> {
        let values: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
        let said = values.and_then(|values| match self.1.get(method) {
            Some(text) => words::instead(method, text, &values),
            None => self.0.named(method, &values),
        });
        said.map(Value::from).ok_or_else(|| minijinja::Error::new(ErrorKind::UnknownMethod, method.to_owned()))
    }
}

/// Whether a name may greet. Mail programs turn what looks like an address into a link, and whoever enrols a person
/// chooses the name, so a name that looks like one, or that tells a number to call, is left out.
fn is_plain_name(name: &str) -> bool {
    let dotted = name.as_bytes().windows(2).any(|pair| pair[0] == b'.' && pair[1] != b' ');
    let numbered = name.chars().filter(|c| c.is_numeric()).count() > 4;
    let marks = ['/', ':', '@', '<', '>', '{', '}', '[', ']', '\\', '。', '．', '｡', '․'];
    !dotted && !numbered && name.chars().count() <= 64 && !name.contains(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_an_address_does_not_greet() {
        for name in ["Jane", "Anne-Marie", "O'Neil", "Dr. Mike", "José", "李"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in [
            "http://evil.com",
            "evil.com",
            "www.evil.com",
            "a@b.c",
            "<b>",
            "{{7*7}}",
            "call 18005551234",
            "evil｡com",
            &"x".repeat(65),
        ] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
