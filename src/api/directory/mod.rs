//! The directory API: the four-key envelope (seed `directory-put-user`), a `user` object in the body.

pub mod apps;
pub mod sessions;
pub mod users;
pub mod webhooks;

use serde_json::{Value, json};

use crate::error::Error;

/// The status of an error in this dialect, whose documented list has no 404 and no 409 (contract items 46 and 50).
pub fn status(error: &Error) -> u16 {
    match error {
        Error::UserNotFound | Error::SessionNotFound | Error::EmailTaken | Error::PhoneTaken | Error::NotNow { .. } => {
            400
        }
        other => other.status(),
    }
}

/// An error's body in this dialect.
pub fn render(error: &Error) -> Value {
    json!({"success": false, "error": error.to_string(), "message": null, "data": null})
}

/// A successful answer's body.
pub fn done(message: &str, data: &Value) -> Value {
    json!({"success": true, "message": message, "error": null, "data": data})
}
