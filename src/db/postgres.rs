//! PostgreSQL, and what speaks its language. A connection is synchronous: it owns the small runtime that its driver
//! wants, and lives on a thread that may block.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::engine::{Connection as Common, Engine, Found, Parts, Rare};
use super::migrate;
use super::pipeline::{Batch, Pipeline, Step};
use super::value::{Row, Value};
use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::error::{Error, Result};

/// How many groups are committed at the same time.
const WRITERS: usize = 4;
/// How long to wait for a connection to one machine, unless the URL has a `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection may be silent before it is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long to leave a server alone that is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a statement may take before the server is taken for gone.
const STATEMENT: Duration = Duration::from_secs(10);

/// Durability is at least what we promise, whatever the server is set to. A group that waits for another's lock holds those of
/// all its own, and the two may wait for each other: it gives up long before PostgreSQL looks for such circles (a second). And
/// who vanishes in a transaction, without a word to the server, does not keep its locks.
const SESSION: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') IN ('off', 'local'); SET lock_timeout = '100ms'; \
     SET idle_in_transaction_session_timeout = '30s'";
/// One operation by itself waits long enough for any other of ours, and not as long as for an answer.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";
/// How far a server's clock may be from the database's, in milliseconds: leases and lifetimes are kept by the servers' own, and
/// two of them are apart by twice as much at the most, which is what a lease has to spare.
const CLOCKS: i64 = 2500;
/// The columns of a table of ours whose texts compare as a language has it.
const BY_LANGUAGE: &str = "FROM information_schema.columns \
     WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS NULL AND 'a' < 'B' \
        AND CAST(table_name AS TEXT) = $1";
/// The oldest version that the tests run on.
const OLDEST: i64 = 150_000;

/// What the driver answers.
type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

pub(super) struct Connection {
    /// `None` only while the connection is being dropped.
    runtime: Option<Runtime>,
    config: Config,
    client: Option<Client>,
    /// Whether the server did not answer in time: what it has done, and may still do, is not known, so this connection and
    /// with it the open transaction is given up.
    lost: Cell<bool>,
    /// How long a statement of the transaction at hand may take.
    limit: Cell<Duration>,
    server: Arc<Server>,
    prepared: RefCell<HashMap<String, Statement>>,
    pipeline: Pipeline,
    rare: Rare,
}

/// What all connections know of the server.
#[derive(Default)]
struct Server {
    /// When it was last found to be away.
    away: Mutex<Option<Stopwatch>>,
}

impl Server {
    /// Whether to try to connect: of those who want to while the server is away, one each [`PAUSE`].
    fn is_worth_a_try(&self) -> bool {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = away.is_some_and(|since| since.elapsed() < PAUSE);
        if !wait && away.is_some() {
            *away = Some(Stopwatch::start());
        }
        !wait
    }

    fn note(&self, is_there: bool) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = (!is_there).then(Stopwatch::start);
    }
}

/// Starts the engine on the database at `url`.
pub(super) fn start(url: &str) -> Result<Engine> {
    let (config, server) = (configure(url)?, Arc::default());
    let writers = (0..WRITERS)
        .map(|_| Connection::new(&config, &server).map(|connection| Box::new(connection) as Box<dyn Common>))
        .collect::<Result<_>>()?;
    Engine::start(Parts {
        writers,
        open_reader: Box::new(move || Ok(Box::new(Connection::new(&config, &server)?))),
        reads_are_quick: false,
    })
}

/// Reads one value from a table `meta`, changing nothing.
pub(super) fn peek(url: &str, sql: &str) -> Result<Found> {
    let mut connection = Connection::new(&configure(url)?, &Arc::default())?;
    connection.ready().map_err(|e| {
        let why = e.for_log().map_or_else(|| e.to_string(), str::to_owned);
        Error::operator(format!("the database server does not answer: {why}"))
    })?;
    let ours =
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'meta'";
    if connection.query(ours, &[])?[0].get::<i64>(0)? == 0 {
        return Ok(Found::Nothing);
    }
    match connection.query(sql, &[])?.first() {
        Some(row) => row.get(0).map(Found::Value),
        // Another server is making the tables at this moment, or this is no database of ours.
        None => Ok(Found::Foreign),
    }
}

fn configure(url: &str) -> Result<Config> {
    // The driver knows no such words: with `require` it verifies the certificate and its name, as with all that we ask by TLS.
    let known = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    // The driver's message may quote the URL, which holds a password.
    let mut config: Config = known.parse().map_err(|_| {
        Error::operator("--database: this is not a PostgreSQL URL (e.g. postgres://user:password@host/usher)")
    })?;
    // The driver would take no for an answer, and whoever stands between could give it.
    if !known.contains("sslmode=") && !config.get_hosts().iter().all(is_this_machine) {
        config.ssl_mode(SslMode::Require);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    config.application_name("usher");
    if !known.contains("keepalives") {
        config.keepalives_idle(KEEP_ALIVE).keepalives_interval(KEEP_ALIVE / 3).keepalives_retries(3);
    }
    Ok(config)
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

impl Connection {
    fn new(config: &Config, server: &Arc<Server>) -> Result<Connection> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal)?;
        Ok(Connection {
            runtime: Some(runtime),
            config: config.clone(),
            client: None,
            lost: Cell::new(false),
            limit: Cell::new(STATEMENT),
            server: Arc::clone(server),
            prepared: RefCell::default(),
            pipeline: Pipeline::default(),
            rare: Rare::default(),
        })
    }

    /// The driver's task runs only while something is waited for: what the server, or whoever stands between, has sent since
    /// then is not known yet. One turn asks the socket, the next one runs the task.
    fn hear_of_an_end(&self) -> Result<()> {
        self.runtime()?.block_on(async {
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
        Ok(())
    }

    fn connect(&self) -> Result<Client> {
        let connecting = async {
            let client = if self.config.get_ssl_mode() == SslMode::Disable {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio_task(connection);
                client
            } else {
                let (client, connection) = self.config.connect(TLS.clone()).await?;
                tokio_task(connection);
                client
            };
            client.batch_execute(SESSION).await?;
            Ok::<Client, tokio_postgres::Error>(client)
        };
        // Each machine in turn has that long to take the connection; one of them, to let Usher in.
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT);
        let machines = u32::try_from(self.config.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let limit = each.saturating_mul(machines).saturating_add(CONNECT);
        match self.runtime()?.block_on(async { tokio::time::timeout(limit, connecting).await }) {
            Ok(client) => client.map_err(|e| match failure(e) {
                // Whoever is not let in, by a password that was changed say, may be later: it is as good as away.
                Error::Internal(why) => Error::Unavailable(why),
                known => known,
            }),
            Err(_) => Err(Error::Unavailable("it does not answer".to_owned())),
        }
    }

    /// Asks the server to end what it does for a client.
    fn cancel(&self, client: &Client) -> Result<()> {
        let token = client.cancel_token();
        let asking = async {
            match self.config.get_ssl_mode() {
                SslMode::Disable => token.cancel_query(NoTls).await,
                _ => token.cancel_query(TLS.clone()).await,
            }
        };
        let asked = self.runtime()?.block_on(async { tokio::time::timeout(PAUSE, asking).await });
        asked.map_err(|_| Error::Busy)?.map_err(failure)
    }

    /// How many columns of ours compare their texts as a language has it.
    fn by_language(&self) -> Result<i64> {
        let count = format!("SELECT COUNT(*) {BY_LANGUAGE}");
        migrate::tables()?.iter().map(|table| self.query(&count, &[table.as_str().into()])?[0].get::<i64>(0)).sum()
    }

    /// What speaks PostgreSQL's language need not have all of its settings.
    fn setting(&self, name: &str) -> Result<Option<String>> {
        let rows = self.query("SELECT setting FROM pg_settings WHERE name = $1", &[name.into()])?;
        rows.first().map(|row| row.get(0)).transpose()
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or(Error::Busy)
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().filter(|_| !self.lost.get()).ok_or(Error::Busy)
    }

    /// Waits for the server, as long as it is reasonable.
    fn wait<T>(&self, answer: impl Future<Output = Answer<T>>) -> Result<T> {
        let limit = self.limit.get();
        // A timer can be made inside the runtime only.
        let answer = self.runtime()?.block_on(async { tokio::time::timeout(limit, answer).await });
        let answer = answer.map_err(|_| {
            self.lost.set(true);
            Error::Unavailable(format!("no answer within {} s", limit.as_secs()))
        })?;
        answer.map_err(|e| self.failed(e))
    }

    /// What the server's refusal means. One that may only be read from is left for the one that may be written to, and one that
    /// no longer knows what was prepared, for a table has changed, for a new connection to it.
    fn failed(&self, e: tokio_postgres::Error) -> Error {
        if e.code().is_some_and(|code| OVER.contains(&code.code())) {
            self.lost.set(true);
        }
        failure(e)
    }

    fn prepare(&self, sql: &str) -> Result<Statement> {
        if let Some(statement) = self.prepared.borrow().get(sql) {
            return Ok(statement.clone());
        }
        // What the server refuses here ends the transaction as any other failure does, and its COMMIT would not say so.
        let statement = self.wait(self.client()?.prepare(sql)).inspect_err(|_| self.pipeline.note_failure())?;
        self.prepared.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Sends what waits, then `last`, without waiting between them.
    fn send<T>(&self, last: impl Future<Output = Answer<T>>) -> Result<T> {
        self.try_to_send(last).inspect_err(|_| self.pipeline.note_failure())
    }

    fn try_to_send<T>(&self, last: impl Future<Output = Answer<T>>) -> Result<T> {
        let client = self.client()?;
        let waiting = self.pipeline.take();
        let statements = waiting.iter().map(|batch| self.prepare(&batch.sql)).collect::<Result<Vec<_>>>()?;
        let each = waiting.iter().zip(&statements).map(|(batch, known)| client.execute_raw(known, &batch.params));
        // Both go through their parts in order when they are first polled, which is when a statement is sent.
        let all = futures_util::future::join(futures_util::future::join_all(each), last);
        let (changed, last) = self.wait(async { Ok(all.await) })?;
        for (changed, batch) in changed.into_iter().zip(&waiting) {
            let changed = changed.map_err(|e| self.failed(e))?;
            if batch.expected.is_some_and(|expected| expected != changed) {
                return Err(Error::Conflict);
            }
        }
        last.map_err(|e| self.failed(e))
    }

    /// Puts a word of transactions before the next statement.
    fn before_the_next(&self, sql: &str) -> Result<()> {
        let step = || Step::Statement(Batch { sql: sql.to_owned(), params: Vec::new(), expected: None });
        if self.pipeline.keep(step) { Ok(()) } else { self.batch(sql) }
    }
}

/// A runtime may not wait for its own end on a thread of another one, where a reader may be dropped.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Common for Connection {
    fn begin_write(&self) -> Result<()> {
        self.before_the_next("BEGIN")
    }

    fn begin_read(&self) -> Result<()> {
        self.pipeline.open();
        self.before_the_next("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn end_read(&self) -> Result<()> {
        self.pipeline.close();
        let client = self.client()?;
        self.runtime()?.block_on(async {
            // Sent, and its answer left for whoever uses the connection next.
            let mut commit = std::pin::pin!(client.batch_execute("COMMIT"));
            tokio::select! { biased; _ = &mut commit => {}, () = tokio::task::yield_now() => {} }
        });
        Ok(())
    }

    fn pipeline(&self) -> Option<&Pipeline> {
        Some(&self.pipeline)
    }

    fn flush(&self) -> Result<()> {
        self.send(async { Ok(()) })
    }

    fn rare(&self) -> &Rare {
        &self.rare
    }

    fn for_update(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn ready(&mut self) -> Result<()> {
        self.limit.set(STATEMENT);
        self.hear_of_an_end()?;
        if self.ended() {
            if !self.server.is_worth_a_try() {
                return Err(Error::Unavailable("it was away a moment ago".to_owned()));
            }
            self.prepared.borrow_mut().clear();
            let connected = self.connect();
            self.server.note(connected.is_ok());
            self.client = Some(connected?);
        }
        Ok(())
    }

    fn take_time(&self, limit: Duration) {
        self.limit.set(limit);
    }

    fn be_patient(&self) -> Result<()> {
        self.before_the_next(PATIENCE)
    }

    fn stay_idle(&self) -> Result<()> {
        self.before_the_next("SET LOCAL idle_in_transaction_session_timeout = 0")
    }

    fn give_up_if_lost(&mut self) {
        if self.lost.replace(false)
            && let Some(client) = self.client.take()
        {
            // It may wait for a lock and holds locks itself, which whoever tries again would wait for.
            if self.cancel(&client).is_err() {
                self.server.note(false);
            }
        }
    }

    fn ended(&self) -> bool {
        self.lost.get() || self.client.as_ref().is_none_or(Client::is_closed)
    }

    /// By settings, of which a server need not have all: a standby, and one that its operator has closed.
    fn may_write(&self) -> Result<()> {
        let sql = "SELECT COUNT(*) FROM pg_settings \
             WHERE name IN ('in_hot_standby', 'default_transaction_read_only') AND setting = 'on'";
        if self.query(sql, &[])?.first().map_or(Ok(0), |row| row.get::<i64>(0))? == 0 {
            return Ok(());
        }
        // Left for one that may be written to, as after a write.
        self.lost.set(true);
        Err(Error::Unavailable("it may only be read from".to_owned()))
    }

    fn execute(&self, sql: &str, params: &[Value]) -> Result<usize> {
        let statement = self.prepare(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        self.pipeline.note_write();
        let changed = self.send(self.client()?.execute(&statement, &params))?;
        usize::try_from(changed).map_err(Error::internal)
    }

    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let statement = self.prepare(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        let rows = self.send(self.client()?.query(&statement, &params))?;
        let row = |row: &tokio_postgres::Row| {
            let values = (0..row.len()).map(|i| row.try_get::<_, Raw>(i).map(|raw| raw.0).map_err(failure));
            values.collect::<Result<_>>().map(Row)
        };
        rows.iter().map(row).collect()
    }

    fn batch(&self, sql: &str) -> Result<()> {
        self.send(self.client()?.batch_execute(sql))
    }

    /// A database may have been made with a language's order, in which `anna@` stands before `ann@` and `j.doe` beside `jdoe`, and
    /// which changes with the system's library. Where it has the order of bytes, as in all of CockroachDB's, nothing is asked for.
    fn compare_bytes(&self, tables: &[&str]) -> Result<()> {
        let orders = format!(
            "SELECT 'ALTER TABLE ' || table_name || string_agg(' ALTER ' || column_name || ' TYPE TEXT COLLATE \"C\"', ',') \
             {BY_LANGUAGE} GROUP BY table_name"
        );
        for table in tables {
            if let Some(order) = self.query(&orders, &[(*table).into()])?.first() {
                self.batch(&order.get::<String>(0)?)?;
            }
        }
        Ok(())
    }

    fn durability(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let must_be = |what, name, good: fn(&str) -> bool| -> Result<_> {
            let found = self.setting(name)?;
            let is_good = found.as_deref().is_none_or(good);
            Ok((what, found.unwrap_or_else(|| "not a setting of this server".to_owned()), is_good))
        };
        let number = self.setting("server_version_num")?.and_then(|number| number.parse::<i64>().ok());
        let version = self.setting("server_version")?.unwrap_or_else(|| "of an unknown version".to_owned());
        Ok(vec![
            ("engine", format!("PostgreSQL {version}"), number.is_none_or(|number| number >= OLDEST)),
            must_be("fsync", "fsync", |value| value == "on")?,
            must_be("synchronous commit", "synchronous_commit", |value| value == "on" || value.starts_with("remote"))?,
            must_be("full page writes", "full_page_writes", |value| value == "on")?,
        ])
    }

    fn health(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let time = self.query("SELECT CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT)", &[])?;
        let time = Timestamp(time.first().ok_or_else(|| Error::internal("no answer"))?.get(0)?);
        let apart = (time.0 - Clock::System.now().0).abs();
        let by_language = self.by_language()?;
        let order = match by_language {
            0 => "by their bytes".to_owned(),
            _ => format!(
                "by a language's order in {by_language} columns, as where a backup was restored into a database that was made so: \
                 lists leave people out. With no server running, `usher migrate` as the owner of the tables mends it"
            ),
        };
        Ok(vec![
            ("clock of the database", format!("{time}, {apart} ms from this machine's"), apart < CLOCKS),
            ("comparison of texts", order, by_language == 0),
        ])
    }
}

/// Drives a connection for as long as its client lives. It makes progress whenever its thread waits for an answer.
#[expect(clippy::disallowed_methods, reason = "the driver wants a task, on the connection's own runtime")]
fn tokio_task(connection: impl Future<Output = Answer<()>> + Send + 'static) {
    tokio::spawn(async move {
        // What ended it shows in the answers that do not come.
        let _ = connection.await;
    });
}

static TLS: LazyLock<tokio_postgres_rustls::MakeRustlsConnect> =
    LazyLock::new(|| tokio_postgres_rustls::MakeRustlsConnect::new(crate::tls::config()));

/// After these a connection is of no more use: it leads to a standby, or to statements that were prepared for other tables.
const OVER: [&str; 3] = ["25006", "0A000", "26000"];

/// PostgreSQL's messages may quote values in their detail, which is therefore left out.
fn failure(e: tokio_postgres::Error) -> Error {
    let Some(db) = e.as_db_error() else {
        // Not an answer of the server: it is away, or was never there.
        let cause = std::error::Error::source(&e).map(|cause| format!(": {cause}")).unwrap_or_default();
        return Error::Unavailable(format!("{e}{cause}"));
    };
    match db.code().code() {
        "23505" => Error::Unique(db.constraint().unwrap_or("unknown constraint").to_owned()),
        "40001" | "40P01" => Error::Conflict,
        "55P03" => Error::Locked,
        "53100" => Error::StorageFull,
        "22021" => Error::bad_request("malformed_request", "A text of the request holds a NUL"),
        // Told to end, by a limit of the server's; too long without a word; an outcome that is not known; a disk of the
        // server's.
        code if OVER.contains(&code)
            || ["57014", "25P03", "40003", "58030"].contains(&code)
            || ["57P", "08", "53"].iter().any(|class| code.starts_with(class)) =>
        {
            Error::Unavailable(format!("{code}: {}", db.message()))
        }
        code => Error::internal(format!("{code}: {}", db.message())),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut bytes::BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(i) if *kind == Type::INT4 => i32::try_from(*i)?.to_sql(kind, out),
            Value::Integer(i) => i.to_sql(kind, out),
            Value::Text(text) => text.to_sql(kind, out),
            // A UUID travels as its sixteen bytes, like any other bytes.
            Value::Bytes(bytes) => bytes.as_ref().to_sql(&Type::BYTEA, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT, Type::VARCHAR, Type::BYTEA, Type::UUID].contains(kind)
    }

    to_sql_checked!();
}

/// A column's value of whatever type.
struct Raw(Value<'static>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(match *kind {
            Type::INT8 => Value::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Value::Integer(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA | Type::UUID => Value::Bytes(Cow::Owned(raw.to_vec())),
            _ => Value::Text(Cow::Owned(String::from_utf8(raw.to_vec())?)),
        }))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_spoken_to_in_tls_unless_the_url_says_otherwise() {
        for (url, mode) in [
            ("postgres://usher:x@db.internal/usher", SslMode::Require),
            ("postgres://usher:x@localhost,db.internal/usher", SslMode::Require),
            ("postgres://usher:x@db.internal/usher?sslmode=verify-full", SslMode::Require),
            ("postgres://usher:x@localhost/usher?sslmode=verify-ca", SslMode::Require),
            ("postgres://usher:x@db.internal/usher?sslmode=prefer", SslMode::Prefer),
            ("postgres://usher:x@db.internal/usher?sslmode=disable", SslMode::Disable),
            ("postgres://usher:x@127.0.0.1:5433/usher", SslMode::Prefer),
            ("postgres://usher:x@localhost/usher", SslMode::Prefer),
            ("postgres:///usher?host=/var/run/postgresql", SslMode::Prefer),
        ] {
            assert_eq!(configure(url).unwrap().get_ssl_mode(), mode, "{url}");
        }
    }
}
