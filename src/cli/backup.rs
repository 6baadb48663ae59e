//! `usher backup` and `usher restore`

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Common;
use super::imports::break_off;
use super::sessions::end_all;
use super::users::{all_are_erased, erase_again, erased_before};
use crate::clock::Clock;
use crate::db::backup::{self, Copied, Form, Progress};
use crate::db::{IfMissing, Store};
use crate::error::Result;

#[derive(Args)]
#[command(after_help = "Example:\n  usher backup /backup/usher-2026-11-21.backup")]
pub struct Backup {
    /// The new file
    file: PathBuf,
    /// Do not encrypt it: to look into it with other programs, or to encrypt it by other means. Names, addresses and profiles are readable in it
    #[arg(long)]
    plain: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  usher restore /backup/usher-2026-11-21.backup --data /var/lib/usher --erasures receipts.json"
)]
pub struct Restore {
    /// A file that `usher backup` made, encrypted or plain; needs the data key of that installation
    file: PathBuf,
    /// Erase again whom these receipts name (`usher user erasures --json`): the backup may be older than their erasure
    #[arg(long, value_name = "FILE")]
    erasures: Option<PathBuf>,
    /// Leave who was signed in when the backup was made signed in, also who has signed out since
    #[arg(long)]
    keep_sessions: bool,
}

/// What comes back with a backup and is the operator's to end again.
const BACK: &str = "API keys, signing keys, webhooks, administrators, roles and who is frozen are as they were when the backup was \
     made: revoke again what was revoked since.";

impl Backup {
    pub fn run(self, common: &Common) -> Result<()> {
        let form = if self.plain { Form::Plain } else { Form::Encrypted };
        let mut line = Line::new();
        let outcome = backup::back_up(&common.location()?, &Clock::System, &self.file, form, &mut |at| line.show(at));
        drop(line);
        let (copied, recorded) = outcome?;
        if let Err(e) = recorded {
            let why = e.for_log().unwrap_or_default();
            let note = format!("usher: the backup is good, but its time could not be noted for `usher doctor`: {why}");
            let _ = writeln!(stderr(), "{note}");
        }
        let then = match form {
            Form::Encrypted => {
                "It is encrypted with the data key and worthless without it: keep a copy of that elsewhere."
            }
            Form::Plain => {
                "Names, addresses and profiles are readable in it. Without the data key it is worthless: keep a copy of that \
                 elsewhere."
            }
        };
        let mut json = to_json(&copied);
        json["encrypted"] = (form == Form::Encrypted).into();
        say(common, &copied, &json, "Backed up to", then);
        Ok(())
    }
}

impl Restore {
    pub async fn run(self, common: &Common) -> Result<()> {
        // A file that cannot be read is found out before anything is written.
        let erased = self.erasures.as_deref().map(erased_before).transpose()?;
        let mut line = Line::new();
        let outcome = backup::restore(&common.location()?, &self.file, &mut |at| line.show(at));
        drop(line);
        let restored = outcome?;
        // Until all is done that a server must find done, there is nothing that it would find.
        let store = Store::open(restored.location(), Clock::System, IfMissing::Refuse).await?;
        let signed_in = if self.keep_sessions {
            "Who was signed in then is signed in again. `usher session revoke-all` ends that.".to_owned()
        } else {
            format!("Sessions ended: {}, and those of administrators.", end_all(&store).await?)
        };
        let (imports, words) = break_off(&store).await?;
        let mut left = Vec::new();
        let then = match erased {
            None => {
                "Whoever was erased after the backup was made is there again: with their receipts, `usher user erase \
                     --again FILE` erases them. Then `usher serve` may start."
                    .to_owned()
            }
            Some(erased) => {
                let (again, unread) = erase_again(&store, erased).await?;
                left = unread;
                let then = if left.is_empty() { " `usher serve` may start." } else { "" };
                format!("Erased again: {}.{then}", again.len())
            }
        };
        drop(store);
        let copied = restored.publish()?;
        let then: Vec<String> = [signed_in, BACK.to_owned()].into_iter().chain(words).chain([then]).collect();
        let mut json = to_json(&copied);
        json["importsBrokenOff"] = imports.into();
        say(common, &copied, &json, "Restored to", &then.join("\n"));
        all_are_erased(&left)
    }
}

fn to_json(Copied { file, bytes, users }: &Copied) -> Value {
    json!({"file": file, "bytes": bytes, "users": users, "verified": true})
}

fn say(common: &Common, Copied { file, bytes, users }: &Copied, json: &Value, what: &str, then: &str) {
    common.say(json, &format!("{what} {}: {users} users, {bytes} bytes, verified.\n{then}", file.display()));
}

/// A line at a terminal that says how far it is; gone when it is dropped.
struct Line {
    is_terminal: bool,
}

impl Line {
    fn new() -> Line {
        Line { is_terminal: stderr().is_terminal() }
    }

    fn show(&mut self, at: Progress) {
        self.print(&match at {
            Progress::Copying(done, total) => format!("copying: {} of {} MiB", done >> 20, total >> 20),
            Progress::Encrypting(done, total) => format!("encrypting: {} of {} MiB", done >> 20, total >> 20),
            Progress::Verifying => "verifying".into(),
        });
    }

    fn print(&self, text: &str) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.print("");
    }
}
