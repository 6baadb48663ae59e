//! The partner API: flat bodies, dated shapes, `{"message", …}`.

pub mod shape;
pub mod subscriptions;
pub mod users;

use serde_json::{Value, json};

use crate::error::Error;

/// The status of a caller who did not prove who they are. The documented list has no 401 (contract item 27).
const UNAUTHENTICATED: u16 = 403;

/// The status of an error in this dialect.
pub fn status(error: &Error) -> u16 {
    match error {
        Error::Unauthenticated { .. } => UNAUTHENTICATED,
        other => other.status(),
    }
}

/// An error's body in this dialect.
pub fn render(error: &Error, request_id: &str) -> Value {
    json!({
        "message": error.to_string(),
        "code": error.code(),
        "errors": error.fields(),
        "requestId": request_id,
    })
}
