//! `usher mail`

use clap::Subcommand;
use serde_json::{Value, json};
use url::Url;

use super::mail_server::MailServer;
use super::mail_templates::Templates;
use super::users::environments;
use super::{Common, Place, or_dash};
use crate::audit::INSTALLATION;
use crate::caller::{Actor, Origin};
use crate::config::origin;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::links;
use crate::mail;
use crate::outbox::{self, Job, JobId, State};

#[derive(Subcommand)]
pub enum Mail {
    /// List the newest mails with their state
    #[command(
        after_help = "Examples:\n  usher mail list --limit 5\n  usher mail list --environment live --state failed"
    )]
    List {
        #[command(flatten)]
        place: Place,
        /// In this state
        #[arg(long)]
        state: Option<State>,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Older ones than this mail: where the next page begins
        #[arg(long, value_name = "ID")]
        before: Option<JobId>,
    },
    /// Show a captured mail with its links
    #[command(after_help = "Example:\n  usher mail show          the newest\n  usher mail show ID --json")]
    Show {
        /// The mail's id [default: the newest]
        id: Option<JobId>,
    },
    /// Send a test mail, and say what the mail server answers
    #[command(after_help = "Example:\n  usher mail test ann@clinic.example --smtp-url-file /run/secrets/smtp-url")]
    Test {
        /// Where it goes
        address: String,
        /// Where people reach the server: mail comes from no-reply@ its host, unless --mail-from says otherwise
        #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", default_value = "http://localhost", value_parser = origin)]
        public_url: Url,
        #[command(flatten)]
        server: MailServer,
    },
    /// Send the person of a failed mail a new one, with a new link
    #[command(after_help = "Example:\n  usher mail retry 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Retry {
        /// The mail's id
        id: JobId,
    },
    /// What an app's mails say, in every language
    #[command(subcommand)]
    Template(Templates),
}

impl Mail {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Mail::Template(templates) => templates.run(common, &store).await?,
            Mail::List { place, state, limit, before } => {
                let jobs = store.scan(move |tx| newest(tx, &place, state, before, limit)).await?;
                let json: Vec<Value> = jobs.iter().map(to_json).collect();
                let row = |job: &Job| {
                    vec![
                        job.id.to_string(),
                        to(job),
                        job.kind.as_str().to_owned(),
                        job.state.as_str().to_owned(),
                        job.created_at.to_string(),
                        or_dash(job.failure.as_ref()),
                    ]
                };
                let head = ["ID", "TO", "KIND", "STATE", "CREATED", "LAST FAILURE"];
                common.show(&json!(json), &head, jobs.iter().map(row).collect(), "There are no mails.");
            }
            Mail::Show { id } => {
                let find = move |tx: &Tx| {
                    let newest = || outbox::newest_mails(tx, 1).map(|mut mails| mails.pop());
                    let none = || {
                        Error::operator(
                            "there are no mails yet. `usher import FILE --send-links` enrols people and mails them.",
                        )
                    };
                    let job = id.map_or_else(|| newest()?.ok_or_else(none), |id| outbox::get(tx, id))?;
                    // A live mail's link would let whoever reads this in as the patient.
                    let mail = if job.state == State::Captured { mail::render(tx, &job)? } else { None };
                    Ok((job, mail))
                };
                let (job, mail) = store.read(find).await?;
                let mut json = to_json(&job);
                json["subject"] = json!(mail.as_ref().map(|mail| &mail.subject));
                json["text"] = json!(mail.as_ref().map(|mail| &mail.text));
                json["html"] = json!(mail.as_ref().map(|mail| &mail.html));
                json["links"] = json!(mail.as_ref().map(|mail| mail.links.as_slice()).unwrap_or_default());
                let words = match &mail {
                    Some(mail) => format!("To: {}\nSubject: {}\n\n{}", mail.to, mail.subject, mail.text.trim_end()),
                    None => format!(
                        "To: {}\nState: {}\nLast failure: {}\n\nThe text of live mail is not shown: its link is the person's.",
                        to(&job),
                        job.state.as_str(),
                        or_dash(job.failure.as_ref())
                    ),
                };
                common.say(&json, &words);
            }
            Mail::Test { address, public_url, server } => {
                let smtp = server.open(&public_url)?.ok_or_else(|| {
                    Error::operator(
                        "no mail server is named; --smtp-url or --smtp-url-file does, as for `usher serve`.",
                    )
                })?;
                let test = |tx: &Tx| mail::note_test(tx, INSTALLATION, Origin::of(Actor::Operator));
                store.write(test).await?;
                let said = smtp.test(&address).await;
                let said = said.map_err(|why| Error::operator(format!("the mail was not sent: {why}")))?;
                common.say(&json!({"sent": true, "answer": said}), &format!("Sent. The server said: {said}"));
            }
            Mail::Retry { id } => {
                store
                    .write(move |tx| links::send_again(tx, Origin::of(Actor::Operator), &outbox::get(tx, id)?))
                    .await?;
                common.say(&json!({"id": id, "sentAgain": true}), "A new mail with a new link is queued.");
            }
        }
        Ok(())
    }
}

/// The newest mails that are meant.
fn newest(tx: &Tx, place: &Place, state: Option<State>, before: Option<JobId>, limit: i64) -> Result<Vec<Job>> {
    if place.is_anywhere() && state.is_none() && before.is_none() {
        return outbox::newest_mails(tx, limit);
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    // Administrators are of no environment.
    let installation = place.is_anywhere().then_some(INSTALLATION);
    let places = environments(tx, place)?.into_iter().map(|environment| environment.id).chain(installation);
    for environment in places {
        let (mut found, mut place) = (Vec::new(), before);
        loop {
            let (jobs, next) = outbox::mails_of(tx, environment, state, place, limit)?;
            found.extend(jobs);
            place = next;
            if place.is_none() || found.len() >= most {
                break;
            }
        }
        all.extend(found);
    }
    all.sort_by_key(|job| std::cmp::Reverse(job.id.0));
    all.truncate(most);
    Ok(all)
}

fn to(job: &Job) -> String {
    job.payload.as_ref().and_then(|payload| payload.text("to")).unwrap_or_default().to_owned()
}

fn to_json(job: &Job) -> Value {
    json!({
        "id": job.id, "to": to(job), "kind": job.kind, "state": job.state, "createdAt": job.created_at,
        "attempts": job.attempts, "failure": job.failure,
    })
}
