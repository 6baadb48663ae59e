//! The floors of storage. They write again, with new ids and addresses, the rows that one real create has written:
//! whatever column a create comes to write, they write it too.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, join3, try_join_all};
use rusqlite::types::Value as Cell;
use serde_json::json;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};
use usher::clock::{Clock, Stopwatch};
use usher::random;
use uuid::Uuid;

use crate::{Load, Result};

/// How many creates share a commit at the most, as in Usher.
const GROUP: usize = 256;
/// The tables that a create writes, in an order that foreign keys accept.
const TABLES: &[&str] = &["users", "links", "outbox", "audit"];

/// What is new in each create; everything else is copied from the real one.
struct Create {
    id: Uuid,
    text: String,
    since: Stopwatch,
}

impl Create {
    fn new() -> Create {
        // The id sorts by time, as Usher's do; the address is in no order.
        let (id, text) = (random::ordered_uuid_v4(Clock::System.now()), random::uuid().simple());
        Create { id, text: format!("{text}@example.com"), since: Stopwatch::start() }
    }
}

/// Keeps so many creates under way for so long: each one that is done lets the next begin.
struct Feed {
    creates: Arc<Mutex<Receiver<Create>>>,
    done: Sender<Vec<Create>>,
    clerk: std::thread::JoinHandle<Vec<Duration>>,
    begin: Stopwatch,
}

impl Feed {
    fn start(load: &Load) -> Feed {
        let (queue, creates) = channel();
        let (done, finished) = channel();
        let (depth, span, begin) = (load.depth, load.seconds, Stopwatch::start());
        let clerk = std::thread::spawn(move || clerk(queue, &finished, depth, span, begin));
        Feed { creates: Arc::new(Mutex::new(creates)), done, clerk, begin }
    }

    /// Prints what the writers did, in the words of `load.lua`.
    fn report(self) {
        drop(self.done);
        let mut times = self.clerk.join().unwrap_or_default();
        let micros = self.begin.elapsed().as_micros();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(place).map_or(0, Duration::as_micros)
        };
        let report = json!({
            "requests": times.len(), "micros": micros, "refused": 0, "broken": 0,
            "p50_us": at(50), "p99_us": at(99), "max_us": at(100),
        });
        println!("{report}");
    }
}

/// Queues creates and notes how long each took. Ends when the last writer has nothing more to say.
fn clerk(
    queue: Sender<Create>,
    finished: &Receiver<Vec<Create>>,
    depth: usize,
    span: Duration,
    begin: Stopwatch,
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut queue = Some(queue);
    let give = |queue: &Option<Sender<Create>>, count: usize| {
        if let Some(queue) = queue {
            // Once the writers have failed there is nobody to take them.
            let _ = (0..count).try_for_each(|_| queue.send(Create::new()));
        }
    };
    give(&queue, depth);
    for group in finished {
        times.extend(group.iter().map(|create| create.since.elapsed()));
        if begin.elapsed() >= span {
            queue = None;
        }
        give(&queue, group.len());
    }
    times
}

/// Everything that has queued, up to a group; `None` at the end.
fn next_group(creates: &Mutex<Receiver<Create>>) -> Option<Vec<Create>> {
    let creates = creates.lock().ok()?;
    let first = creates.recv().ok()?;
    Some(std::iter::once(first).chain(creates.try_iter().take(GROUP - 1)).collect())
}

/// An id in the order of time, as rows have that no caller knows by their id.
fn ordered() -> Uuid {
    random::ordered_uuid(Clock::System.now())
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
        (_, "health" | "payload" | "changes") => Column::Sealed,
        _ => Column::Same,
    }
}

/// As durable as Usher, and with a log that is written back as often.
const SETTINGS: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; \
     PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=500;";

/// On one connection, as only one can write.
pub fn sqlite(database: &Path, load: &Load) -> Result<()> {
    let connection = rusqlite::Connection::open(database)?;
    connection.execute_batch(SETTINGS)?;
    let models: Vec<Model> = TABLES.iter().map(|table| Model::read(&connection, table)).collect::<Result<_>>()?;
    let feed = Feed::start(load);
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
    feed.report();
    Ok(())
}

/// A row of a real create.
struct Model {
    insert: String,
    cells: Vec<(Column, Cell)>,
}

impl Model {
    fn read(connection: &rusqlite::Connection, table: &str) -> Result<Model> {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY id DESC LIMIT 1"))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
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
            Column::Id => Cell::Blob(ordered().as_bytes().to_vec()),
            Column::Text => Cell::Text(create.text.clone()),
            Column::Hash => Cell::Blob(random::bytes::<32>().to_vec()),
            Column::Sealed | Column::Same => cell.clone(),
        })
    }
}

/// Through so many connections, each of which takes what has queued.
pub async fn postgres(database: &str, writers: usize, load: &Load) -> Result<()> {
    let writers: Vec<Writer> = try_join_all((0..writers).map(|_| Writer::connect(database))).await?;
    let runtime = tokio::runtime::Handle::current();
    let feed = Feed::start(load);
    let work = |writer: &Writer| -> Result<()> {
        while let Some(group) = next_group(&feed.creates) {
            runtime.block_on(writer.write(&group))?;
            feed.done.send(group)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers.iter().map(|writer| scope.spawn(|| work(writer))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a writer panicked".into())))
    })?;
    feed.report();
    Ok(())
}

struct Writer {
    client: Client,
    inserts: Vec<Insert>,
}

/// Writes any number of rows of one table: each parameter is a column's values in all of them.
struct Insert {
    statement: Statement,
    columns: Vec<(Column, Vec<u8>)>,
}

impl Writer {
    async fn connect(database: &str) -> Result<Writer> {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "the driver's own task")]
        tokio::spawn(connection);
        let inserts = try_join_all(TABLES.iter().map(|table| Insert::prepare(&client, table))).await?;
        Ok(Writer { client, inserts })
    }

    /// In one pipeline: nothing waits for an answer before the last word is sent.
    async fn write(&self, group: &[Create]) -> Result<()> {
        let inserts = self.inserts.iter().map(|insert| insert.run(&self.client, group));
        let (opened, written, committed) =
            join3(self.client.batch_execute("BEGIN"), join_all(inserts), self.client.batch_execute("COMMIT")).await;
        opened?;
        written.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(committed?)
    }
}

impl Insert {
    async fn prepare(client: &Client, table: &str) -> Result<Insert> {
        let row = client.query_one(&format!("SELECT * FROM {table} ORDER BY id DESC LIMIT 1"), &[]).await?;
        let (mut names, mut values, mut arrays, mut sent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut columns = Vec::new();
        for (i, found) in row.columns().iter().enumerate() {
            let name = found.name();
            let column = column(table, name);
            let (array, value) = match column {
                Column::Same => ("", format!("model.{name}")),
                Column::User | Column::Id => ("text", format!("new.{name}::uuid")),
                Column::Text => ("text", format!("new.{name}")),
                Column::Hash | Column::Sealed => ("bytea", format!("new.{name}")),
            };
            names.push(name);
            values.push(value);
            if column != Column::Same {
                columns.push((column, if column == Column::Sealed { row.get(i) } else { Vec::new() }));
                arrays.push(format!("${}::{array}[]", columns.len()));
                sent.push(name);
            }
        }
        let [names, values, arrays, sent] = [names.join(", "), values.join(", "), arrays.join(", "), sent.join(", ")];
        let sql = format!(
            "INSERT INTO {table} ({names}) SELECT {values} \
             FROM (SELECT * FROM {table} ORDER BY id DESC LIMIT 1) AS model, UNNEST({arrays}) AS new ({sent})"
        );
        Ok(Insert { statement: client.prepare(&sql).await?, columns })
    }

    async fn run(&self, client: &Client, group: &[Create]) -> Result<()> {
        let arrays: Vec<_> = self.columns.iter().map(|(column, sealed)| array(*column, sealed, group)).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| &**array as _).collect();
        client.execute(&self.statement, &parameters).await?;
        Ok(())
    }
}

fn array(column: Column, sealed: &[u8], group: &[Create]) -> Box<dyn ToSql + Sync + Send> {
    let texts = |text: fn(&Create) -> String| Box::new(group.iter().map(text).collect::<Vec<_>>());
    match column {
        Column::User => texts(|create| create.id.to_string()),
        Column::Id => texts(|_| ordered().to_string()),
        Column::Text => texts(|create| create.text.clone()),
        Column::Hash => Box::new(group.iter().map(|_| random::bytes::<32>().to_vec()).collect::<Vec<_>>()),
        Column::Sealed | Column::Same => Box::new(vec![sealed.to_vec(); group.len()]),
    }
}
