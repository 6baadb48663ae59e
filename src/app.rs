//! A running Usher: the server, the workers and the chores beside them. The only file that spawns tasks.

mod chores;

pub use chores::{answer_admins, decide, erase_expired, gather, import, purge, tell_turns};

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

use crate::admins;
use crate::api::{Api, Peer, Server, Services, TooLate, versions};
use crate::audit::chain;
use crate::audit::tally::Tally;
use crate::billing;
use crate::db::Store;
use crate::error::{Error, Result};
use crate::glance::Glances;
use crate::keys;
use crate::limits::Limit;
use crate::links::Links;
use crate::mail;
use crate::mail::transport::Smtp;
use crate::network::Network;
use crate::outbound::{Client, Reach};
use crate::outbox;
use crate::outbox::worker::{self, Bell, Work};
use crate::signin;
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
/// How long what is left to note may take after that: a database that hangs does not keep the server from ending.
const LAST: Duration = Duration::from_secs(2);

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
        App::behind(Vec::new(), signin::per_network(signin::PER_NETWORK), store, links, smtp)
    }

    /// The same behind proxies, whose word about a client's address counts, and with a limit on the sign-ins that a network
    /// begins.
    pub fn behind(
        proxies: Vec<Network>,
        sign_ins_per_network: Option<Limit>,
        store: Store,
        links: Links,
        smtp: Option<Smtp>,
    ) -> App {
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
            sign_ins_per_network,
            large_bodies: crate::api::body::Places::default(),
            requests: crate::api::requests::Requests::default(),
            metrics: crate::api::metrics::Metrics::default(),
            was_ready: true.into(),
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
            keep_at(&api, chores::run),
            keep_at(&api, chores::seal),
            keep_at(&api, chores::decide_sign_ins),
            keep_at(&api, move |api| chores::answer_asks(api, tell)),
            keep_at(&api, chores::gather_names),
            keep_at(&api, chores::take_over),
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
            let last = async {
                chores::flush_key_use(&api).await;
                chores::flush_refusals(&api).await;
                chores::seal_now(&api.store, chain::Reach::Usual).await;
            };
            if tokio::time::timeout(LAST, last).await.is_err() {
                tracing::warn!(
                    "the database did not answer in time: the last uses of keys and refused attempts may not be noted; the next start seals the rest of the audit trail"
                );
            }
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
            tokio::time::sleep(chores::EVERY).await;
        }
    })
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
        let links = Links { public_url: "http://127.0.0.1:8080".parse().unwrap(), lifetime: GRACE };
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
