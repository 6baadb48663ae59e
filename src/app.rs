//! A running Usher: the server, the worker and the small chores beside them. The only module that spawns tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use uuid::Uuid;

use crate::admins;
use crate::api::{Api, Peer, Server, Services, TooLate, versions};
use crate::audit::chain;
use crate::audit::tally::{self, Tally};
use crate::billing;
use crate::clock::Stopwatch;
use crate::codes;
use crate::db::{Store, Tx};
use crate::erasure;
use crate::error::{Error, Result};
use crate::glance::Glances;
use crate::idempotency;
use crate::imports;
use crate::keys;
use crate::limits;
use crate::links::Links;
use crate::mail;
use crate::mail::transport::Smtp;
use crate::network::Network;
use crate::outbound::{Client, Reach};
use crate::outbox;
use crate::outbox::worker::{self, Bell, Work};
use crate::sessions;
use crate::signin;
use crate::subscriptions;
use crate::users::names::Names;
use crate::webhooks;

/// How long a client may take to send a request's header, and may keep a connection open without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to read what it asked for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections there may be; the next one waits to be accepted.
const CONNECTIONS: usize = 4096;
/// The largest header.
const HEADER_LIMIT: usize = 32 * 1024;
/// How long requests and mails under way may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(8);
/// How often sign-ins are decided.
const DECISIONS: Duration = Duration::from_millis(250);
/// How often the chores run.
const CHORES: Duration = Duration::from_secs(1);
/// Every how many of them refused attempts of unknown callers are written down, and the day of subscriptions is looked at.
const TALLY: u64 = 60;
/// How often the audit trail is sealed, and for what part of the time at the most: one in so many.
const SEAL: Duration = Duration::from_secs(1);
const SEAL_SHARE: u32 = 10;
/// Every how many of them what has expired is removed: once an hour.
const PURGE: u64 = 3600;

/// A running Usher.
pub struct App {
    api: Api,
    server: Server,
    webhook_networks: Vec<Network>,
    tell: fn(&str),
}

impl App {
    /// Puts the parts together. Without `smtp`, live mail waits in the outbox.
    pub fn new(store: Store, links: Links, smtp: Option<Smtp>) -> App {
        App::behind(Vec::new(), store, links, smtp)
    }

    /// The same behind proxies, whose word about a client's address counts.
    pub fn behind(proxies: Vec<Network>, store: Store, links: Links, smtp: Option<Smtp>) -> App {
        let api = Arc::new(Services {
            store,
            links,
            outbox: Bell::default(),
            known_keys: keys::KeyCache::default(),
            key_use: keys::KeyUse::default(),
            refusals: Tally::default(),
            admin_asks: admins::Asks::default(),
            glances: Glances::default(),
            names: Names::default(),
            sends_mail: smtp.is_some(),
            smtp: smtp.map(Arc::new),
            proxies,
            requests: crate::api::requests::Requests::default(),
            metrics: crate::api::metrics::Metrics::default(),
            closing: false.into(),
        });
        App { server: Server::new(Arc::clone(&api)), api, webhook_networks: Vec::new(), tell: |_| () }
    }

    /// Passes on what only the operator at the terminal may read.
    #[must_use]
    pub fn telling(self, tell: fn(&str)) -> App {
        App { tell, ..self }
    }

    /// Lets webhooks go to these networks too, and not only to the Internet.
    #[must_use]
    pub fn with_webhook_networks(self, networks: Vec<Network>) -> App {
        App { webhook_networks: networks, ..self }
    }

    /// What requests reach; for tests that look behind them.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The HTTP side without a socket.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Serves until `stop` is done, then lets what is under way finish, for [`GRACE`] at the most.
    ///
    /// # Errors
    /// It ended because the disk failed.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        let App { api, server, webhook_networks, tell } = self;
        let chores = [
            keep_at(&api, chores),
            keep_at(&api, seal),
            keep_at(&api, move |api| decide_sign_ins(api, tell)),
            keep_at(&api, gather_names),
            keep_at(&api, take_over),
        ];
        let mut workers = vec![work(&api, webhook_sender(&api, webhook_networks)), work(&api, billing_sender(&api))];
        if let Some(smtp) = &api.smtp {
            let counting = Arc::clone(&api);
            let sender =
                mail::sender::Sender::new(Arc::clone(smtp), move |outcome| counting.metrics.note_mail(outcome));
            workers.push(work(&api, sender));
        }
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let accept = async |graceful: Option<&GracefulShutdown>| {
            // The semaphore is never closed.
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                match listener.accept().await {
                    Ok((socket, peer)) => connect(graceful, server.clone(), socket, Peer(peer.ip()), place),
                    // Out of file handles, most likely: wait for some to be given back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let failed = tokio::select! { () = accept(Some(&graceful)) => None, () = stop => None, e = api.store.failure() => Some(e) };
        if let Some(failed) = &failed {
            tracing::error!(what = failed.for_log(), "the disk failed; nothing more is acknowledged");
        }
        api.closing.store(true, Ordering::SeqCst);
        api.outbox.close();
        let all = futures_util::future::join(graceful.shutdown(), futures_util::future::join_all(workers));
        tokio::select! {
            finished = tokio::time::timeout(GRACE, all) => if finished.is_err() {
                tracing::warn!(
                    "some requests, mails or webhooks had not finished after {} s and were cut off",
                    GRACE.as_secs()
                );
            },
            // Who comes now is told to go elsewhere: load balancers ask `/readyz`.
            () = accept(None) => {}
        }
        drop(listener);
        chores.iter().for_each(tokio::task::JoinHandle::abort);
        let Some(failed) = failed else {
            flush_key_use(&api).await;
            flush_refusals(&api).await;
            seal_now(&api.store, chain::Reach::Usual).await;
            return Ok(());
        };
        Err(Error::operator(format!(
            "the disk failed while writing ({}). Nothing was acknowledged since. Look after the disk, then start again: \
             all that was acknowledged before is there.",
            failed.for_log().unwrap_or_default()
        )))
    }
}

/// Answers on a connection: until it ends, or in `graceful`'s order; without one, a request of somebody who comes too late.
fn connect(
    graceful: Option<&GracefulShutdown>,
    server: Server,
    socket: TcpStream,
    peer: Peer,
    place: OwnedSemaphorePermit,
) {
    let late = graceful.is_none();
    // Without it, small answers wait for the client's acknowledgement.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let server = server.clone();
        request.extensions_mut().insert(peer);
        async move {
            // Detached from the socket: a client that hangs up does not leave half an operation.
            let mut request = request.map(Body::new);
            if late {
                request.extensions_mut().insert(TooLate);
            }
            let answer = spawn(async move { server.call(request).await });
            answer.await.map_err(Error::internal)
        }
    });
    let mut socket = Box::pin(TimeoutStream::new(socket));
    socket.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LIMIT)
        .keep_alive(!late)
        .serve_connection(TokioIo::new(socket), service);
    let connection = match graceful {
        Some(graceful) => graceful.watch(connection).left_future(),
        None => connection.right_future(),
    };
    // What can go wrong here is the client's: it hung up, or spoke something else than HTTP.
    spawn(async move {
        connection.await.unwrap_or_default();
        drop(place);
    });
}

fn work<W: Work + Send + Sync + 'static>(api: &Api, work: W) -> tokio::task::JoinHandle<()>
where
    W::Job: Send,
{
    spawn(worker::run(api.store.clone(), api.outbox.clone(), work))
}

/// What sends webhooks, to the Internet and to `networks`.
pub fn webhook_sender(api: &Api, networks: Vec<Network>) -> impl Work<Job = webhooks::Job> + Send + Sync + use<> {
    let counting = Arc::clone(api);
    let client = Client::new(Reach::Public(networks.into()));
    webhooks::sender::Sender::new(client, versions::lower, move |outcome| counting.metrics.note_webhook(outcome))
}

/// What tells the billing provider of changes.
pub fn billing_sender(api: &Api) -> impl Work<Job = outbox::Job> + Send + Sync + use<> {
    let counting = Arc::clone(api);
    billing::stripe::Sender::new(move |outcome| counting.metrics.note_billing(outcome))
}

/// Does what is done as long as the server runs. A panic does not end it: what one record makes of its reader must not end it
/// for all others.
fn keep_at<F: Future<Output = ()> + Send + 'static>(
    api: &Api,
    begin: impl Fn(Api) -> F + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let api = Arc::clone(api);
    spawn(async move {
        while AssertUnwindSafe(begin(Arc::clone(&api))).catch_unwind().await.is_err() {
            // What it panicked with is on stderr.
            tracing::error!("a task panicked; it begins again");
            tokio::time::sleep(CHORES).await;
        }
    })
}

async fn chores(api: Api) {
    for second in 1_u64.. {
        tokio::time::sleep(CHORES).await;
        flush_key_use(&api).await;
        if second.is_multiple_of(TALLY) {
            flush_refusals(&api).await;
            tell_turns(&api).await;
        }
        if !second.is_multiple_of(PURGE) {
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
async fn decide_sign_ins(api: Api, tell: fn(&str)) {
    loop {
        tokio::time::sleep(DECISIONS).await;
        if let Err(e) = decide(&api).await {
            tracing::warn!(code = e.code(), "sign-ins could not be decided");
        }
        if let Err(e) = answer_admins(&api, tell).await {
            tracing::warn!(code = e.code(), "administrators who asked for a link could not be sent one");
        }
    }
}

/// Takes over what was sent to be imported, one file after the other.
async fn take_over(api: Api) {
    loop {
        tokio::time::sleep(CHORES).await;
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
        if api.store.write(move |tx| signin::decide(tx, &links, &all)).await.is_err() {
            decide_one_by_one(api, waiting).await?;
        }
        api.outbox.wake();
    }
}

/// Mails a link to each administrator who has asked for one, or tells it if there is no mail server.
///
/// # Errors
/// The database refuses.
pub async fn answer_admins(api: &Api, tell: impl Fn(&str)) -> Result<()> {
    for ask in api.admin_asks.take() {
        let (links, mails) = (api.links.clone(), api.sends_mail);
        let answer = move |tx: &Tx| {
            let way = if mails { admins::Way::Mail } else { admins::Way::Tell };
            admins::answer(tx, &links, &ask, &way)
        };
        if let Some(link) = api.store.write(answer).await? {
            tell(&format!("Sign in to the dashboard, within ten minutes:\n\n  {link}\n"));
        }
        api.outbox.wake();
    }
    Ok(())
}

/// Gathers what people are called, where administrators search, for as long as the server runs.
async fn gather_names(api: Api) {
    loop {
        tokio::time::sleep(CHORES).await;
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
    admins::purge,
    idempotency::purge,
    signin::purge_strangers,
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
            other => other?,
        }
    }
    Ok(())
}

async fn flush_key_use(api: &Api) {
    let used = api.key_use.take();
    if used.is_empty() {
        return;
    }
    if let Err(e) = api.store.write(move |tx| keys::note_use(tx, &used)).await {
        tracing::warn!(code = e.code(), "the use of keys could not be noted");
    }
}

async fn flush_refusals(api: &Api) {
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
async fn seal(api: Api) {
    let mut unsound = 0;
    for pass in 0_u64.. {
        let watch = Stopwatch::start();
        let reach = if pass.is_multiple_of(PURGE) { chain::Reach::Far } else { chain::Reach::Usual };
        let found = seal_now(&api.store, reach).await.unwrap_or(unsound);
        if found > unsound {
            tracing::error!(
                entries = found,
                "the audit trail has entries that Usher did not write; see `usher audit verify`"
            );
        }
        unsound = found;
        tokio::time::sleep(SEAL.max(watch.elapsed() * (SEAL_SHARE - 1))).await;
    }
}

/// How many entries could not be sealed, for Usher did not write them.
async fn seal_now(store: &Store, reach: chain::Reach) -> Option<usize> {
    match chain::seal(store, reach).await {
        Ok(sealed) => Some(sealed.unsound),
        Err(e) => {
            tracing::warn!(code = e.code(), "the audit trail could not be sealed");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that spawns tasks")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// Done when the process is asked to stop (SIGINT, SIGTERM). A second time ends it at once.
///
/// # Errors
/// The signals cannot be listened to.
pub fn asked_to_stop() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    Ok(async move {
        let mut next = async move || {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        };
        next().await;
        spawn(async move {
            next().await;
            std::process::exit(1);
        });
    })
}

/// A socket to serve on.
///
/// # Errors
/// The address is not usable; the text says what to do.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::operator(format!(
            "cannot listen on {address}: {e}. Another program may be using it; --listen names another address."
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::clock::Clock;
    use crate::db::{IfMissing, Location};

    #[tokio::test]
    async fn a_task_that_panics_begins_again() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        let store = Store::open(&Location::at(&folder), Clock::System, IfMissing::Create).await.unwrap();
        let links = Links { public_url: "http://127.0.0.1:8080".parse().unwrap(), lifetime: SEAL };
        let times = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&times);
        let task = keep_at(App::new(store, links, None).api(), move |_| {
            let time = counting.fetch_add(1, Ordering::SeqCst);
            async move { assert!(time > 0, "on purpose") }
        });
        task.await.unwrap();
        assert_eq!(times.load(Ordering::SeqCst), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
