//! The schemas of `/v1/imports`.

use serde_json::{Map, Value, json};

use super::schemas::{list, object, or_null, time, uuid};
use crate::imports::{Preset, State, Status};

/// What the file that is sent looks like.
pub(super) fn file() -> Value {
    let text = "A first line that names the columns, then a line for each person. Commas, semicolons or tabs.";
    json!({
        "text/csv": {"schema": {
            "type": "string", "description": text, "examples": ["email,given_name\njane@doe.com,Jane\n"]
        }},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One JSON object a line."}},
        "application/json": {"schema": {
            "description": "A list of objects, or an object with one called users.",
            "anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object", "required": ["users"]}]
        }}
    })
}

/// What operations answer in `data`.
pub(super) fn answers() -> Map<String, Value> {
    let count = |text: &str| json!({"type": "integer", "description": text});
    let import = json!({
        "type": "object",
        "required": ["kind", "id", "state", "tenantId", "total", "read", "imported", "duplicates", "failed", "removed", "kept",
            "rehearsed", "createdAt", "finishedAt", "ignored", "reason"],
        "properties": {
            "kind": {"const": "import"}, "id": uuid(), "tenantId": or_null(uuid()),
            "state": {"enum": State::ALL, "description": "How far it is. `broken`: it does not go on, and `reason` says why."},
            "total": count("How many rows there are."), "read": count("How many were read."),
            "imported": count("How many became users."), "duplicates": count("How many were users before."),
            "failed": count("How many are wrong."), "removed": count("How many users were erased since."),
            "kept": count("How many were not, for they have changed."),
            "rehearsed": {"type": "boolean", "description": "Whether nothing was changed."},
            "createdAt": time(), "finishedAt": or_null(time()),
            "preset": or_null(json!({"enum": Preset::ALL, "description": "The known export that the file is like. In the answer to it only."})),
            "ignored": {
                "type": "array", "items": {"type": "string"},
                "description": "The columns of the file that become nothing; none while the dashboard has yet to say."
            },
            "reason": or_null(json!({"type": "string", "description": "Why it is broken, and what is to be done."}))
        }
    });
    let row = json!({
        "type": "object", "required": ["kind", "row", "status", "userId", "reason"],
        "properties": {
            "kind": {"const": "importRow"}, "row": count("Its number, from one."), "status": {"enum": Status::ALL},
            "userId": or_null(uuid()),
            "reason": or_null(json!({"type": "string", "description": "Which fields are wrong, or belong to whom is there; no values."}))
        }
    });
    object([("Import", import.clone()), ("Imports", list("import", import)), ("ImportRows", list("importRow", row))])
}
