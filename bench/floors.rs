//! What the benchmark compares Usher with when nothing of Usher is in the way, and what fills a database for it.

mod fill;
mod storage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Parser;
use serde_json::{Map, Value, json};
use usher::random;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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

/// How hard a floor of storage is driven.
#[derive(clap::Args)]
struct Load {
    /// How many creates are under way at once
    #[arg(long)]
    depth: usize,
    /// For how long
    #[arg(long, value_parser = |text: &str| text.parse().map(Duration::from_secs))]
    seconds: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Floor::parse() {
        Floor::Http { listen } => http(listen).await,
        Floor::Sqlite { database, load } => storage::sqlite(&database, &load),
        Floor::Postgres { database, writers, load } => storage::postgres(&database, writers, &load).await,
        Floor::Fill { data, database, users, first, body } => fill::fill(data, database, users, first, &body).await,
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
