//! What the benchmark compares Usher with when nothing of Usher is in the way, and what fills a database for it.
//!
//! The floors of storage write again, with new ids and addresses, the rows that one real create has written: whatever
//! table or column a create comes to write, they write it too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use futures_util::future::try_join_all;
use rusqlite::types::Value as Cell;
use serde_json::{Map, Value, json};
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;
use usher::api::versions::ApiDate;
use usher::apps::Kind;
use usher::clock::{Clock, Stopwatch};
use usher::db::{IfMissing, Location, Store, Tx};
use usher::keys;
use usher::links::Links;
use usher::secret::Secret;
use usher::{random, users};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How many creates share a commit at the most, as in Usher.
const GROUP: usize = 256;
/// The tables that a create writes, in an order that foreign keys accept.
const TABLES: &[&str] = &["users", "links", "outbox"];

/// Floors for the benchmark of Usher
#[derive(Parser)]
enum Floor {
    /// Parse the body of a create and answer like one, over HTTP, and store nothing
    Http {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Write the rows of creates with bare SQLite, in groups
    Sqlite {
        /// A database of Usher's with a user in it
        #[arg(long)]
        database: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Write the rows of creates with bare PostgreSQL, in sets
    Postgres {
        /// A database of Usher's with a user in it
        #[arg(long)]
        database: String,
        /// How many connections write
        #[arg(long, default_value_t = 4)]
        writers: usize,
        #[command(flatten)]
        load: Load,
    },
    /// Enrol people until the sandbox has so many, through Usher's own operation
    Fill {
        #[arg(long)]
        data: PathBuf,
        /// The URL of a PostgreSQL database
        #[arg(long)]
        database: Option<String>,
        #[arg(long)]
        users: u64,
        /// What the people are numbered from, so that no two have one address
        #[arg(long)]
        first: u64,
        /// The body of a create, with {n} and {phone} in it
        #[arg(long)]
        body: String,
    },
}

#[derive(clap::Args)]
struct Load {
    /// How many creates are under way at once
    #[arg(long)]
    depth: usize,
    #[arg(long)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Floor::parse() {
        Floor::Http { listen } => http(listen).await,
        Floor::Sqlite { database, load } => sqlite(&database, &load),
        Floor::Postgres { database, writers, load } => postgres(&database, writers, &load).await,
        Floor::Fill { data, database, users, first, body } => fill(data, database, users, first, &body).await,
    }
}

async fn http(listen: SocketAddr) -> Result<()> {
    let app = Router::new().route("/users/create", post(answer)).route("/readyz", get(async || "ready"));
    Ok(axum::serve(tokio::net::TcpListener::bind(listen).await?, app).await?)
}

async fn answer(body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Map<String, Value>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let answer = json!({
        "message": "User created successfully", "email": body.get("email"), "identifier": random::uuid().to_string(),
    });
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], answer.to_string()).into_response()
}

/// What is new in each create; everything else is copied from the real one.
struct Create {
    id: uuid::Uuid,
    text: String,
    since: Stopwatch,
}

/// Keeps `depth` creates under way for so long: each one that is done lets the next begin.
struct Feed {
    creates: Arc<Mutex<Receiver<Create>>>,
    done: Sender<Vec<Create>>,
    watch: std::thread::JoinHandle<Vec<Duration>>,
}

impl Feed {
    fn start(load: &Load) -> Feed {
        let (queue, creates) = channel();
        let (done, finished) = channel::<Vec<Create>>();
        let (depth, seconds) = (load.depth, Duration::from_secs(load.seconds));
        let watch = std::thread::spawn(move || {
            let begin = Stopwatch::start();
            let new = || {
                let id = random::uuid();
                Create { id, text: format!("{}@example.com", id.simple()), since: Stopwatch::start() }
            };
            (0..depth).for_each(|_| drop(queue.send(new())));
            let mut times = Vec::new();
            // Ends when the last writer has nothing more to say.
            let mut queue = Some(queue);
            for group in finished {
                times.extend(group.iter().map(|create| create.since.elapsed()));
                if begin.elapsed() >= seconds {
                    queue = None;
                }
                if let Some(queue) = &queue {
                    group.iter().for_each(|_| drop(queue.send(new())));
                }
            }
            times
        });
        Feed { creates: Arc::new(Mutex::new(creates)), done, watch }
    }

    /// Prints what the writers did since `begin`, in the words of `load.lua`.
    fn report(self, begin: Stopwatch) {
        drop(self.done);
        let mut times = self.watch.join().unwrap_or_default();
        let micros = begin.elapsed().as_micros();
        times.sort_unstable();
        let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1)).map_or(0, Duration::as_micros);
        let report = json!({
            "requests": times.len(), "micros": micros, "refused": 0, "broken": 0,
            "p50_us": at(50), "p99_us": at(99), "max_us": at(100),
        });
        println!("{report}");
    }
}

/// Everything that has queued, up to a group; `None` at the end.
fn next_group(creates: &Mutex<Receiver<Create>>) -> Option<Vec<Create>> {
    let creates = creates.lock().ok()?;
    let first = creates.recv().ok()?;
    Some(std::iter::once(first).chain(creates.try_iter().take(GROUP - 1)).collect())
}

/// Which columns of the rows are new in each create.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    /// The user's id.
    User,
    /// An id of the row's own.
    Id,
    /// An address or a number.
    Text,
    /// A hash.
    Hash,
    /// Sealed data: the same for all, but it has to be sent.
    Sealed,
    /// Copied.
    Same,
}

fn column(table: &str, name: &str) -> Column {
    match (table, name) {
        ("users", "id") | (_, "user_id") => Column::User,
        (_, "id") => Column::Id,
        (_, "email" | "email_key" | "phone" | "phone_key") => Column::Text,
        (_, "hash") => Column::Hash,
        (_, "health" | "payload") => Column::Sealed,
        _ => Column::Same,
    }
}

/// As durable as Usher, and as fast as SQLite was seen to be on top of that.
const SETTINGS: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
     PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=16000;";

fn sqlite(database: &PathBuf, load: &Load) -> Result<()> {
    let connection = rusqlite::Connection::open(database)?;
    connection.execute_batch(SETTINGS)?;
    let models: Vec<Model> = TABLES.iter().map(|table| Model::read(&connection, table)).collect::<Result<_>>()?;
    let feed = Feed::start(load);
    let begin = Stopwatch::start();
    while let Some(group) = next_group(&feed.creates) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for create in &group {
            for model in &models {
                connection.prepare_cached(&model.insert)?.execute(rusqlite::params_from_iter(model.row(create)))?;
            }
        }
        connection.execute_batch("COMMIT")?;
        feed.done.send(group)?;
    }
    feed.report(begin);
    Ok(())
}

/// A row of a real create.
struct Model {
    insert: String,
    cells: Vec<(Column, Cell)>,
}

impl Model {
    fn read(connection: &rusqlite::Connection, table: &str) -> Result<Model> {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} LIMIT 1"))?;
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let places: Vec<String> = (1..=names.len()).map(|i| format!("?{i}")).collect();
        let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
        let cells = statement.query_row([], |row| {
            names.iter().enumerate().map(|(i, name)| Ok((column(table, name), row.get(i)?))).collect()
        })?;
        Ok(Model { insert, cells })
    }

    fn row<'a>(&'a self, create: &'a Create) -> impl Iterator<Item = Cell> + 'a {
        self.cells.iter().map(|(column, cell)| match column {
            Column::User => Cell::Blob(create.id.as_bytes().to_vec()),
            Column::Id => Cell::Blob(random::uuid().as_bytes().to_vec()),
            Column::Text => Cell::Text(create.text.clone()),
            Column::Hash => Cell::Blob(random::bytes::<32>().to_vec()),
            Column::Sealed | Column::Same => cell.clone(),
        })
    }
}

async fn postgres(database: &str, writers: usize, load: &Load) -> Result<()> {
    let writers: Vec<Writer> = try_join_all((0..writers).map(|_| Writer::connect(database))).await?;
    let feed = Feed::start(load);
    let begin = Stopwatch::start();
    let (runtime, failures): (_, (SyncSender<_>, Receiver<_>)) = (tokio::runtime::Handle::current(), sync_channel(writers.len()));
    std::thread::scope(|scope| {
        for writer in &writers {
            let (creates, done, failed) = (Arc::clone(&feed.creates), feed.done.clone(), failures.0.clone());
            let runtime = runtime.clone();
            scope.spawn(move || {
                while let Some(group) = next_group(&creates) {
                    if let Err(e) = runtime.block_on(writer.write(&group)) {
                        let _ = failed.send(e);
                        return;
                    }
                    let _ = done.send(group);
                }
            });
        }
    });
    drop(failures.0);
    failures.1.try_recv().map_or(Ok(()), Err)?;
    feed.report(begin);
    Ok(())
}

/// A connection with a statement for each table, which takes one array for each column that is new.
struct Writer {
    client: tokio_postgres::Client,
    inserts: Vec<(tokio_postgres::Statement, Vec<(Column, Vec<u8>)>)>,
}

impl Writer {
    async fn connect(database: &str) -> Result<Writer> {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "the driver's own task")]
        tokio::spawn(connection);
        let mut inserts = Vec::new();
        for table in TABLES {
            inserts.push(Writer::prepare(&client, table).await?);
        }
        Ok(Writer { client, inserts })
    }

    async fn prepare(
        client: &tokio_postgres::Client,
        table: &str,
    ) -> Result<(tokio_postgres::Statement, Vec<(Column, Vec<u8>)>)> {
        let row = client.query_one(&format!("SELECT * FROM {table} LIMIT 1"), &[]).await?;
        let (mut sent, mut chosen, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, found) in row.columns().iter().enumerate() {
            let name = found.name();
            let (kind, array, value) = match column(table, name) {
                Column::Same => {
                    chosen.push(format!("model.{name}"));
                    names.push(name.to_owned());
                    continue;
                }
                kind @ (Column::User | Column::Id) => (kind, "text", format!("new.{name}::uuid")),
                kind @ Column::Text => (kind, "text", format!("new.{name}")),
                kind @ (Column::Hash | Column::Sealed) => (kind, "bytea", format!("new.{name}")),
            };
            sent.push((kind, if kind == Column::Sealed { row.get(i) } else { Vec::new() }));
            arrays.push((format!("${}::{array}[]", sent.len()), name.to_owned()));
            chosen.push(value);
            names.push(name.to_owned());
        }
        let (arrays, new): (Vec<String>, Vec<String>) = arrays.into_iter().unzip();
        let sql = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} LIMIT 1) AS model, UNNEST({}) AS new ({})",
            names.join(", "),
            chosen.join(", "),
            arrays.join(", "),
            new.join(", "),
        );
        Ok((client.prepare(&sql).await?, sent))
    }

    async fn write(&self, group: &[Create]) -> Result<()> {
        let arrays: Vec<Vec<Box<dyn ToSql + Sync + Send>>> = self
            .inserts
            .iter()
            .map(|(_, columns)| columns.iter().map(|(column, sealed)| array(*column, sealed, group)).collect())
            .collect();
        // In one pipeline: nothing waits for an answer before the last word is sent.
        let begin = self.client.batch_execute("BEGIN");
        let inserts = self.inserts.iter().zip(&arrays).map(|((statement, _), arrays)| async move {
            let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as _).collect();
            self.client.execute(statement, &parameters).await
        });
        let commit = self.client.batch_execute("COMMIT");
        let (begun, inserted, committed) =
            futures_util::future::join3(begin, futures_util::future::join_all(inserts), commit).await;
        begun?;
        inserted.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(committed?)
    }
}

fn array(column: Column, sealed: &[u8], group: &[Create]) -> Box<dyn ToSql + Sync + Send> {
    let texts = |text: fn(&Create) -> String| Box::new(group.iter().map(text).collect::<Vec<_>>());
    match column {
        Column::User => texts(|create| create.id.to_string()),
        Column::Id => texts(|_| random::uuid().to_string()),
        Column::Text => texts(|create| create.text.clone()),
        Column::Hash => Box::new(group.iter().map(|_| random::bytes::<32>().to_vec()).collect::<Vec<_>>()),
        Column::Sealed | Column::Same => Box::new(vec![sealed.to_vec(); group.len()]),
    }
}

/// How many people a transaction enrols, and how many transactions are under way.
const BATCH: u64 = 500;
const AT_ONCE: usize = 16;

async fn fill(data: PathBuf, database: Option<String>, people: u64, first: u64, body: &str) -> Result<()> {
    let location = Location { postgres: database.map(Secret::new), ..Location::at(data) };
    let store = Store::open(&location, Clock::System, IfMissing::Refuse).await?;
    let key = store.read(keys::list).await?.into_iter().find(|key| key.caller.kind == Kind::Sandbox);
    let caller = key.ok_or("there is no sandbox key")?.caller;
    let links = Links { public_url: "http://127.0.0.1:8080".parse()?, lifetime: Duration::from_hours(24) };
    let context = caller.context(store.clock().now());
    let shape = &ApiDate::NEWEST.shapes().create;
    let person = |n: u64| -> Result<users::Person> {
        let body = body.replace("{n}", &n.to_string()).replace("{phone}", &(2_000_000_000 + n).to_string());
        Ok(shape.read(&serde_json::from_str(&body)?, &context)?)
    };
    let mut under_way = futures_util::stream::FuturesUnordered::new();
    let mut numbers = (first..first + people).step_by(usize::try_from(BATCH)?);
    loop {
        use futures_util::StreamExt;
        while under_way.len() < AT_ONCE
            && let Some(from) = numbers.next()
        {
            let batch = (from..(from + BATCH).min(first + people)).map(person).collect::<Result<Vec<_>>>()?;
            let links = links.clone();
            let enrol = move |tx: &Tx| batch.iter().try_for_each(|person| users::enrol(tx, &caller, person.clone(), &links).map(drop));
            under_way.push(store.write(enrol));
        }
        match under_way.next().await {
            Some(done) => done?,
            None => return Ok(()),
        }
    }
}
