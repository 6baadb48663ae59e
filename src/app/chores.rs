//! The chores of a running server: what is done by the clock and not because somebody asks. Each is a function that does what
//! there is to do now, and a loop around it.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::admins;
use crate::api::Api;
use crate::apps::EnvironmentId;
use crate::audit::chain;
use crate::audit::tally;
use crate::clock::Stopwatch;
use crate::codes;
use crate::db::{Store, Tx};
use crate::erasure;
use crate::error::{Error, Result};
use crate::idempotency;
use crate::imports;
use crate::keys;
use crate::limits;
use crate::outbox;
use crate::sessions;
use crate::signin;
use crate::subscriptions;
use crate::webhooks;

/// How often sign-ins are decided, and administrators who ask for a link answered.
const DECISIONS: Duration = Duration::from_millis(250);
/// How often the chores run.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Every how many of them refused attempts of unknown callers are written down, and the day of subscriptions is looked at.
const TALLY: u64 = 60;
/// How often the audit trail is sealed, and for what part of the time at the most: one in so many.
const SEAL: Duration = Duration::from_secs(1);
const SEAL_SHARE: u32 = 10;
/// The same while there is more than one pass takes.
const SEAL_MORE: u32 = 2;
/// Every how many of them what has expired is removed: once an hour.
const PURGE: u64 = 3600;

/// What is done once a second, a minute, and an hour, for as long as the server runs.
pub(super) async fn run(api: Api) {
    for second in 1_u64.. {
        tokio::time::sleep(EVERY).await;
        flush_key_use(&api).await;
        if second.is_multiple_of(TALLY) {
            flush_refusals(&api).await;
            tell_turns(&api).await;
        }
        // Also soon after a start, for a server that does not stay up for an hour.
        if second != TALLY && !second.is_multiple_of(PURGE) {
            continue;
        }
        purge(&api.store).await;
        erase_expired(&api).await;
    }
}

/// Erases who was deleted for long enough. Should some together fail, each by themselves, so that one whose record cannot be
/// read does not keep the others.
pub async fn erase_expired(api: &Api) {
    loop {
        match api.store.write(erasure::erase_expired).await {
            Ok(0) => return,
            Ok(users) => tracing::info!(users, "deleted users were erased after their time"),
            Err(_) => break,
        }
    }
    let due = match api.store.read(erasure::due).await {
        Ok(due) => due,
        Err(e) => return tracing::warn!(code = e.code(), "deleted users could not be erased"),
    };
    for id in due {
        if let Err(e) = api.store.write(move |tx| erasure::erase_by_time(tx, id)).await {
            tracing::error!(user = %id, code = e.code(), "a deleted user could not be erased");
        }
    }
}

/// Decides who is sent a mail to sign in by. In steps of its own, so that no request's time tells what was decided.
pub(super) async fn decide_sign_ins(api: Api) {
    loop {
        tokio::time::sleep(DECISIONS).await;
        if let Err(e) = decide(&api).await {
            tracing::warn!(code = e.code(), "sign-ins could not be decided");
        }
    }
}

/// Answers administrators who ask for a link, likewise. Not behind the sign-ins of people, of which there may always be one more.
pub(super) async fn answer_asks(api: Api, tell: fn(&str)) {
    loop {
        tokio::time::sleep(DECISIONS).await;
        if let Err(e) = answer_admins(&api, tell).await {
            tracing::warn!(code = e.code(), "administrators who asked for a link could not be sent one");
        }
    }
}

/// Takes over what was sent to be imported, one file after the other.
pub(super) async fn take_over(api: Api) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(e) = import(&api).await {
            tracing::warn!(code = e.code(), "an import could not go on");
        }
    }
}

/// Does what there is to do of all imports that wait now.
///
/// # Errors
/// The database does not answer.
pub async fn import(api: &Api) -> Result<()> {
    while api.store.read(imports::waits).await? {
        if let Some((import, file)) = api.store.write(imports::claim).await? {
            imports::serve(&api.store, import, file, &api.links).await?;
            api.outbox.wake();
        }
    }
    Ok(())
}

/// Decides all that wait now.
///
/// # Errors
/// The database does not answer.
pub async fn decide(api: &Api) -> Result<()> {
    loop {
        let waiting = api.store.read(signin::waiting).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let (links, all) = (api.links.clone(), waiting.clone());
        match api.store.write(move |tx| signin::decide(tx, &links, &all)).await {
            Ok(held_back) => tell_held_back(api, &held_back),
            Err(_) => decide_one_by_one(api, waiting).await?,
        }
        api.outbox.wake();
    }
}

/// Mails a link to each administrator who has asked for one, or tells it if there is no mail server.
///
/// # Errors
/// The database refuses.
pub async fn answer_admins(api: &Api, tell: impl Fn(&str)) -> Result<()> {
    let tell = |link: url::Url| tell(&format!("Sign in to the dashboard, within ten minutes:\n\n  {link}\n"));
    api.admin_asks.take_made().into_iter().for_each(tell);
    let mut asks = api.admin_asks.take().into_iter();
    while let Some(ask) = asks.next() {
        let (links, way, wish) = (api.links.clone(), api.admin_way(), ask.clone());
        let answer = move |tx: &Tx| admins::answer(tx, &links, &wish, &way);
        match api.store.write(answer).await {
            Ok(link) => link.into_iter().for_each(tell),
            Err(e) => {
                // What passes is tried again, and what does not is not to keep the others.
                let again = e.passes().then_some(ask);
                again.into_iter().chain(asks).for_each(|ask| api.admin_asks.add(ask));
                return Err(e);
            }
        }
        api.outbox.wake();
    }
    Ok(())
}

/// Gathers what people are called, where administrators search, for as long as the server runs.
pub(super) async fn gather_names(api: Api) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(e) = gather(&api).await {
            tracing::warn!(code = e.code(), "names could not be gathered");
        }
    }
}

/// Gathers all that are wanted now.
///
/// # Errors
/// The database does not answer.
pub async fn gather(api: &Api) -> Result<()> {
    for environment in api.names.wanted(api.store.clock().now()) {
        loop {
            let (gathering, watch) = (Arc::clone(api), Stopwatch::start());
            if !api.store.scan(move |tx| gathering.names.gather(tx, environment)).await? {
                break;
            }
            // Half of the time is for others.
            tokio::time::sleep(watch.elapsed()).await;
        }
    }
    Ok(())
}

/// What removes what has expired, some in each transaction, and says whether there may be more.
const PURGES: &[fn(&Tx) -> Result<bool>] = &[
    imports::purge,
    admins::purge,
    idempotency::purge,
    signin::purge,
    codes::purge,
    sessions::purge,
    limits::purge,
    webhooks::tidy,
    outbox::purge,
];

/// Removes all that has expired.
pub async fn purge(store: &Store) {
    for purge in PURGES {
        let outcome = loop {
            match store.write(purge).await {
                Ok(true) => {}
                outcome => break outcome,
            }
        };
        if let Err(e) = outcome {
            tracing::warn!(code = e.code(), "what has expired could not be removed");
        }
    }
}

/// Tells of the subscriptions whose day has come to resume, or to end.
pub async fn tell_turns(api: &Api) {
    let tell = async || {
        if api.store.read(subscriptions::any_turns).await? {
            while api.store.write(subscriptions::tell_turns).await? {}
            api.outbox.wake();
        }
        Ok::<(), Error>(())
    };
    if let Err(e) = tell().await {
        tracing::warn!(code = e.code(), "subscriptions that turned could not be told of");
    }
}

/// One that cannot be read is set aside, so that it does not keep the others.
async fn decide_one_by_one(api: &Api, waiting: Vec<Uuid>) -> Result<()> {
    for id in waiting {
        let links = api.links.clone();
        match api.store.write(move |tx| signin::decide(tx, &links, &[id])).await {
            Err(e @ (Error::Integrity | Error::Internal(_))) => {
                tracing::error!(sign_in = %id, code = e.code(), "a sign-in could not be decided");
                api.store.write(move |tx| signin::set_aside(tx, id)).await?;
            }
            other => tell_held_back(api, &other?),
        }
    }
    Ok(())
}

/// Tells the operator of mails that nobody else hears of: who waits for one is told nothing.
fn tell_held_back(api: &Api, environments: &[EnvironmentId]) {
    for environment in environments {
        api.metrics.note_mail("held");
        tracing::warn!(%environment, "a mail to sign in by was held back: its environment has sent enough within an hour");
    }
}

pub(super) async fn flush_key_use(api: &Api) {
    let used = api.key_use.take();
    if used.is_empty() {
        return;
    }
    let noted = used.clone();
    if let Err(e) = api.store.write(move |tx| keys::note_use(tx, &noted)).await {
        tracing::warn!(code = e.code(), "the use of keys could not be noted");
        api.key_use.put_back(used);
    }
}

pub(super) async fn flush_refusals(api: &Api) {
    let counts = api.refusals.take();
    if counts.is_empty() {
        return;
    }
    let written = counts.clone();
    if let Err(e) = api.store.write(move |tx| tally::write(tx, &written)).await {
        tracing::warn!(code = e.code(), "refused attempts could not be noted");
        for (kind, times) in counts {
            api.refusals.add(kind, times);
        }
    }
}

/// Seals the audit trail, for as long as the server runs.
pub(super) async fn seal(api: Api) {
    // Of a pass that failed, some environments may be done and others not, whose entries may be older than the newest seal.
    let (mut unsound, mut more, mut failed) = (0, false, false);
    for pass in 0_u64.. {
        let watch = Stopwatch::start();
        let reach = if failed || pass.is_multiple_of(PURGE) {
            chain::Reach::Far
        } else if more {
            chain::Reach::Rest
        } else {
            chain::Reach::Usual
        };
        let sealed = seal_now(&api.store, reach).await;
        failed = sealed.is_none();
        let sealed = sealed.unwrap_or(chain::Sealed { unsound, ..Default::default() });
        if sealed.unsound > unsound {
            tracing::error!(
                entries = sealed.unsound,
                "the audit trail has entries that Usher did not write; see `usher audit verify`"
            );
        }
        (unsound, more) = (sealed.unsound, sealed.more);
        let rest = |share: u32| watch.elapsed() * (share - 1);
        tokio::time::sleep(if more { rest(SEAL_MORE) } else { SEAL.max(rest(SEAL_SHARE)) }).await;
    }
}

/// One pass of sealing; `None` if the database refused.
pub(super) async fn seal_now(store: &Store, reach: chain::Reach) -> Option<chain::Sealed> {
    chain::seal(store, reach)
        .await
        .inspect_err(|e| tracing::warn!(code = e.code(), "the audit trail could not be sealed"))
        .ok()
}
