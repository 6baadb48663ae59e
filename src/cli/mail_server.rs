//! The options that name a mail server.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::{secret, span};
use crate::error::Result;
use crate::mail::transport::Smtp;
use crate::outbox::LONGEST_TRY;
use crate::secret::Secret;

#[derive(clap::Args)]
pub struct MailServer {
    /// Send live mail through this server: smtps://USER:PASSWORD@HOST, or smtp:// with STARTTLS
    #[arg(long, value_name = "URL", env = "USHER_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<Secret>,
    /// A file that holds the SMTP URL
    #[arg(long, value_name = "FILE", env = "USHER_SMTP_URL_FILE")]
    smtp_url_file: Option<PathBuf>,
    /// How long a mail server may take to answer, 45s at the most
    #[arg(long, value_name = "SPAN", env = "USHER_SMTP_TIMEOUT", default_value = "30s", value_parser = smtp_timeout)]
    smtp_timeout: Duration,
    /// The sender of mails [default: no-reply@ the public URL's host]
    #[arg(long, value_name = "ADDRESS", env = "USHER_MAIL_FROM")]
    mail_from: Option<String>,
}

fn smtp_timeout(text: &str) -> std::result::Result<Duration, String> {
    let timeout = span(text)?;
    if timeout > LONGEST_TRY {
        return Err(format!("must be {} s at the most", LONGEST_TRY.as_secs()));
    }
    Ok(timeout)
}

impl MailServer {
    /// The server for mail whose links lead to `public_url`; `None` if none is named.
    pub fn open(self, public_url: &Url) -> Result<Option<Smtp>> {
        let from =
            self.mail_from.unwrap_or_else(|| format!("no-reply@{}", public_url.host_str().unwrap_or("localhost")));
        let url = secret("smtp-url", self.smtp_url, self.smtp_url_file.as_deref())?;
        url.map(|url| Smtp::new(&url, &from, public_url, self.smtp_timeout)).transpose()
    }
}
