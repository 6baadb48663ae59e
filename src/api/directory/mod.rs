//! The directory API: the four-key envelope (seed `directory-put-user`), a `user` object in the body.

pub mod analytics;
pub mod apps;
pub mod imports;
pub mod query;
pub mod sessions;
pub mod subscriptions;
pub mod tenants;
pub mod users;
pub mod webhooks;

use serde_json::{Value, json};

use crate::error::Error;

/// The status of an error in this dialect, whose documented list has no 404 and no 409 (contract items 46 and 50).
pub fn status(error: &Error) -> u16 {
    match error {
        Error::UserNotFound
        | Error::SessionNotFound
        | Error::NotFound(_)
        | Error::EmailTaken
        | Error::PhoneTaken
        | Error::ExternalIdTaken
        | Error::NotNow { .. } => 400,
        other => other.status(),
    }
}

/// An error's body in this dialect.
pub fn render(error: &Error) -> Value {
    json!({"success": false, "error": error.to_string(), "message": null, "data": null})
}

/// A list as `data` (contract A6), and the cursor of its next page.
pub fn items(kind: &str, items: Vec<Value>, next: Option<String>) -> Value {
    json!({"kind": kind, "itemsLength": items.len(), "items": items, "nextCursor": next})
}

/// A successful answer's body.
pub fn done(message: &str, data: &Value) -> Value {
    json!({"success": true, "message": message, "error": null, "data": data})
}
