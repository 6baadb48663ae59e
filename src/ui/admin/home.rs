//! The first page of an environment.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Frame;
use super::access::{ReadOnly, Within};
use crate::api::Api;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::ui::page;
use crate::users::{self, User};

#[derive(Template)]
#[template(path = "admin/home.html")]
struct HomePage<'a> {
    frame: &'a Frame,
    newest: Vec<User>,
    now: Timestamp,
}

/// `GET /admin/{appId}/{environment}`
pub async fn show(State(api): State<Api>, here: Within<ReadOnly>) -> Result<Response> {
    let environment = here.environment.id;
    let newest = api.store.read(move |tx| users::newest(tx, environment, 10)).await?;
    Ok(page(&HomePage { frame: &here.frame, newest, now: api.store.clock().now() }, None))
}
