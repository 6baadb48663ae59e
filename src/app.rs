//! A running Usher: the server, the worker and the small chores beside them. The only module that spawns tasks.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

use crate::api::{Api, Server, Services};
use crate::db::Store;
use crate::error::{Error, Result};
use crate::keys;
use crate::links::Links;
use crate::mail::transport::Smtp;
use crate::outbox::worker::{self, Bell};

/// How long a client may take to send a request's header, and may keep a connection open without one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest header.
const HEADER_LIMIT: usize = 32 * 1024;
/// How long requests under way may take to finish when the server stops.
const GRACE: Duration = Duration::from_secs(10);
/// How often the chores run.
const CHORES: Duration = Duration::from_secs(1);

/// A running Usher.
pub struct App {
    api: Api,
    server: Server,
    smtp: Option<Smtp>,
}

impl App {
    /// Puts the parts together. Without `smtp`, live mail waits in the outbox.
    pub fn new(store: Store, links: Links, smtp: Option<Smtp>) -> App {
        let api = Arc::new(Services {
            store,
            links,
            outbox: Bell::default(),
            key_use: keys::KeyUse::default(),
            metrics: crate::api::metrics::Metrics::default(),
            closing: false.into(),
        });
        App { server: Server::new(Arc::clone(&api)), api, smtp }
    }

    /// What requests reach; for tests that look behind them.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The HTTP side without a socket.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Serves until `stop` is done, then lets requests under way finish, for [`GRACE`] at the most.
    ///
    /// # Errors
    /// Not all requests had finished by then.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        let App { api, server, smtp } = self;
        let chores = spawn(note_key_use(Arc::clone(&api)));
        let worker = smtp.map(|smtp| {
            let (store, bell, api) = (api.store.clone(), api.outbox.clone(), Arc::clone(&api));
            spawn(async move { worker::run(store, bell, smtp, |outcome| api.metrics.note_mail(outcome)).await })
        });
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => connect(&graceful, server.clone(), socket),
                    // Out of file handles, most likely: wait for some to be given back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                () = &mut stop => break,
            }
        }
        api.closing.store(true, Ordering::SeqCst);
        drop(listener);
        let finished = tokio::time::timeout(GRACE, graceful.shutdown()).await;
        if let Some(worker) = worker {
            worker.abort();
        }
        chores.abort();
        flush_key_use(&api).await;
        finished.map_err(|_| Error::startup("some requests had not finished after 10 seconds and were cut off."))
    }
}

fn connect(graceful: &GracefulShutdown, server: Server, socket: TcpStream) {
    // Without it, small answers wait for the client's acknowledgement.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let server = server.clone();
        async move {
            // Detached from the socket: a client that hangs up does not leave half an operation.
            let answer = spawn(async move { server.call(request.map(Body::new)).await });
            answer.await.map_err(Error::internal)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LIMIT)
        .serve_connection(TokioIo::new(socket), service);
    let connection = graceful.watch(connection);
    // What can go wrong here is the client's: it hung up, or spoke something else than HTTP.
    spawn(async move { connection.await.unwrap_or_default() });
}

async fn note_key_use(api: Api) {
    loop {
        tokio::time::sleep(CHORES).await;
        flush_key_use(&api).await;
    }
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
        Error::startup(format!(
            "cannot listen on {address}: {e}. Another program may be using it; --listen names another address."
        ))
    })
}
