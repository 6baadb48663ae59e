//! SMTP: how live mail leaves. TLS unless the server is on this machine, one pool of connections, no retry of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::response::Response;
use lettre::transport::smtp::{self, AsyncSmtpTransportBuilder};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Url;

use super::Mail;
use crate::error::{Error, Result};
use crate::outbox::worker::printable;
use crate::outbox::{JobId, Outcome};
use crate::secret::Secret;

/// Sends mail to one SMTP server.
pub struct Smtp {
    builder: AsyncSmtpTransportBuilder,
    /// The connections that are kept for the next mail.
    transport: Mutex<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    host: String,
    timeout: Duration,
}

crate::secret::redacted!(Smtp);

impl Smtp {
    /// Prepares sending by `url`: `smtps://user:password@host` (TLS from the start, port 465) or
    /// `smtp://user:password@host` (STARTTLS, port 587; plain for a server on this machine, port 25).
    /// `?tls=starttls` and `?tls=none` say otherwise.
    ///
    /// # Errors
    /// The URL or the sender's address is not usable; the text says why and does not repeat the password.
    pub fn new(url: &Secret, from: &str, public_url: &Url, timeout: Duration) -> Result<Smtp> {
        let refuse =
            |why: &str| Error::operator(format!("--smtp-url: {why} (e.g. smtps://user:password@mail.example.com)"));
        let parsed = Url::parse(url.expose()).map_err(|_| refuse("this is not a URL"))?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let local = matches!(host.as_str(), "localhost" | "::1") || host.starts_with("127.");
        let wish = parsed.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let parameters = || TlsParameters::new(host.clone()).map_err(|e| refuse(&format!("TLS cannot be set up: {e}")));
        let (tls, port) = match (parsed.scheme(), wish.as_deref()) {
            ("smtps", None) => (Tls::Wrapper(parameters()?), 465),
            ("smtp", Some("starttls")) => (Tls::Required(parameters()?), 587),
            ("smtp", None) if !local => (Tls::Required(parameters()?), 587),
            ("smtp", None | Some("none")) => (Tls::None, 25),
            ("smtp" | "smtps", _) => return Err(refuse("tls must be starttls or none, with smtp://")),
            _ => return Err(refuse("it must begin with smtps:// or smtp://")),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(parsed.port().unwrap_or(port))
            .tls(tls)
            .timeout(Some(timeout));
        if !parsed.username().is_empty() {
            let decode =
                |text: &str| percent_decode(text).ok_or_else(|| refuse("user and password must be URL-encoded"));
            let credentials =
                Credentials::new(decode(parsed.username())?, decode(parsed.password().unwrap_or_default())?);
            builder = builder.credentials(credentials);
        }
        let from = from
            .parse()
            .map_err(|_| Error::operator("--mail-from: this is not an address (e.g. Usher <no-reply@example.com>)"))?;
        let host = public_url.host_str().unwrap_or("usher").to_owned();
        Ok(Smtp { transport: Mutex::new(builder.clone().build()), builder, from, host, timeout })
    }

    /// How long the server may take to answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Hands the message over. Its `Message-ID` is the job's, so that a second try is the same message.
    pub async fn send(&self, mail: &Mail, id: JobId) -> Outcome {
        let message = match self.message(mail, id) {
            Ok(message) => message,
            Err(why) => return Outcome::GiveUp(why),
        };
        match self.hand_over(message).await {
            Some(Ok(_)) => Outcome::Done,
            Some(Err(e)) if e.is_permanent() && self.welcomes_us().await => Outcome::GiveUp(words(&e)),
            Some(Err(e)) => Outcome::retry(words(&e)),
            None => Outcome::retry(self.no_answer()),
        }
    }

    /// Sends a test to this address, which nobody waits for. What the server said, or why it is not sent.
    pub async fn test(&self, to: &str) -> std::result::Result<String, String> {
        let message = self.message(&super::test(to), JobId::random())?;
        match self.hand_over(message).await {
            Some(Ok(answer)) => {
                let lines: Vec<&str> = answer.message().collect();
                Ok(format!("{} {}", answer.code(), lines.join(" ")).trim_end().to_owned())
            }
            Some(Err(e)) => Err(words(&e)),
            None => Err(self.no_answer()),
        }
    }

    /// `None`: there was no answer in time.
    async fn hand_over(&self, message: Message) -> Option<std::result::Result<Response, smtp::Error>> {
        // The transport's own limit ends with the connection's set-up.
        let transport = self.transport().clone();
        let answer = tokio::time::timeout(self.timeout, transport.send(message)).await.ok();
        if answer.is_none() {
            // A connection that was left in the middle goes back to the others and would hang the next mail too.
            *self.transport() = self.builder.clone().build();
        }
        answer
    }

    fn no_answer(&self) -> String {
        format!("the mail server did not answer within {} s", self.timeout.as_secs())
    }

    /// Whether the server lets us in at all. If not, its refusal was about us (a greeting of 554, a wrong password) and
    /// not about the message: the operator will mend that, and no mail may be lost meanwhile.
    async fn welcomes_us(&self) -> bool {
        let transport = self.transport().clone();
        matches!(tokio::time::timeout(self.timeout, transport.test_connection()).await, Ok(Ok(true)))
    }

    fn transport(&self) -> MutexGuard<'_, AsyncSmtpTransport<Tokio1Executor>> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, mail: &Mail, id: JobId) -> std::result::Result<Message, String> {
        let (local, domain) = mail.to.rsplit_once('@').ok_or("the address has no @")?;
        let domain = idna::domain_to_ascii(domain).map_err(|_| "the address's domain is not a domain")?;
        let to = Address::new(local, domain).map_err(|e| e.to_string())?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&mail.subject)
            .header(ContentLanguage(mail.language.tag()))
            .message_id(Some(format!("<{id}@{}>", self.host)))
            .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
            .map_err(|e| e.to_string())
    }
}

/// In which language a mail is written (RFC 3282).
#[derive(Clone)]
struct ContentLanguage(&'static str);

impl Header for ContentLanguage {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Content-Language")
    }

    fn parse(_: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Err("mails are written here, not read".into())
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(ContentLanguage::name(), self.0.to_owned())
    }
}

/// The error with its causes: the innermost holds the server's words.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text.truncate(text.floor_char_boundary(500));
    printable(&text)
}

fn percent_decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
