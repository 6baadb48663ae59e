//! Usher: a self-hosted user service. See `docs/ARCHITECTURE.md` for the house in one picture.

pub mod api;
pub mod app;
pub mod apps;
pub mod audit;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod error;
pub mod field;
pub mod idempotency;
pub mod keys;
pub mod links;
pub mod mail;
pub mod outbox;
pub mod random;
pub mod secret;
pub mod tenants;
pub mod ticket;
pub mod tokens;
pub mod ui;
pub mod users;
pub mod vault;
