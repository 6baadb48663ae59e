//! What can go wrong, once for all dialects: a status, a stable code and a text for a person.
//!
//! Nothing here may carry a value that a caller sent: texts name fields and rules, never data.

use std::fmt;

/// The result of everything that can fail in Usher.
pub type Result<T> = std::result::Result<T, Error>;

const MIB: usize = 1024 * 1024;

/// One field of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name in the dialect and version the caller speaks, e.g. `dateOfBirth`.
    pub field: String,
    /// A stable word for programs: `required`, `type`, `format`, `range`, `enum`, `too_long`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Everything that can go wrong.
#[derive(Debug, Clone)]
pub enum Error {
    /// One or more fields break a rule; all of them are listed.
    Invalid(Vec<FieldError>),
    /// The request cannot be read, or contradicts itself.
    BadRequest {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence that says what to do.
        message: String,
    },
    /// The caller did not prove who they are.
    Unauthenticated {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence that says what to do.
        message: &'static str,
    },
    /// The caller is known and may not do this.
    Forbidden {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence that says why.
        message: &'static str,
    },
    /// No such user among those the caller may see.
    UserNotFound,
    /// No such session of that user.
    SessionNotFound,
    /// The e-mail address belongs to another user of the environment.
    EmailTaken,
    /// The phone number belongs to another user of the environment.
    PhoneTaken,
    /// No such webhook among those the caller may see.
    NoWebhook,
    /// The user's external id belongs to another user of the environment.
    ExternalIdTaken,
    /// No such thing among those the caller may see; the sentence says of which kind.
    NotFound(&'static str),
    /// This was a rehearsal, and everything is as it was.
    Rehearsed,
    /// No such route.
    NoRoute,
    /// The documented API has it; Usher does not mean to.
    OutOfScope,
    /// The route exists, not for this method.
    MethodNotAllowed,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The request with this idempotency key is still running.
    StillRunning,
    /// What the caller asks for cannot be, as things stand.
    NotNow {
        /// A stable word for programs.
        code: &'static str,
        /// A sentence that says why.
        message: &'static str,
    },
    /// The record is not, or no longer, the one that the caller means (`If-Match`).
    Stale,
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body did not arrive in time.
    BodyTimeout,
    /// Too many of these in the last hour.
    TooMany(&'static str),
    /// The store has more queued than it can do soon.
    Busy,
    /// Another operation kept what this one needs for too long.
    Locked,
    /// The database server is away. The text is for the log.
    Unavailable(String),
    /// Two operations met in the database; the store runs this one again, so no caller sees it.
    Conflict,
    /// The disk is full.
    StorageFull,
    /// The disk failed under a write: what it holds is not known, so nothing more is written. The text is for the log.
    DiskFailed(String),
    /// Stored data does not decrypt: wrong key or damage.
    Integrity,
    /// A uniqueness rule of the database; names columns, never values. Concepts turn it into a rule of theirs.
    Unique(String),
    /// The operator asked for something that cannot be; the text says what to do.
    Operator(String),
    /// A bug or a broken environment. The text is for the log, not for callers.
    Internal(String),
}

impl Error {
    /// A request that cannot be read.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Error::BadRequest { code, message: message.into() }
    }

    /// Something that the operator must mend or asked wrongly.
    pub fn operator(message: impl Into<String>) -> Self {
        Error::Operator(message.into())
    }

    /// A bug or a broken environment, for the log.
    pub fn internal(what: impl fmt::Display) -> Self {
        Error::Internal(what.to_string())
    }

    /// The HTTP status (RFC 9110). A dialect that documents another one says so where it renders.
    pub fn status(&self) -> u16 {
        match self {
            Error::Invalid(_) | Error::BadRequest { .. } => 400,
            Error::Unauthenticated { .. } => 401,
            Error::Forbidden { .. } => 403,
            Error::UserNotFound
            | Error::SessionNotFound
            | Error::NotFound(_)
            | Error::NoWebhook
            | Error::NoRoute
            | Error::OutOfScope => 404,
            Error::MethodNotAllowed => 405,
            Error::BodyTimeout => 408,
            Error::EmailTaken
            | Error::PhoneTaken
            | Error::ExternalIdTaken
            | Error::StillRunning
            | Error::NotNow { .. } => 409,
            Error::Stale => 412,
            Error::TooLarge(_) => 413,
            Error::IdempotencyKeyReused => 422,
            Error::TooMany(_) => 429,
            Error::Integrity | Error::Unique(_) | Error::Operator(_) | Error::Rehearsed | Error::Internal(_) => 500,
            Error::Busy | Error::Locked | Error::Conflict | Error::Unavailable(_) | Error::DiskFailed(_) => 503,
            Error::StorageFull => 507,
        }
    }

    /// Whether the store may do a moment later what it refuses now.
    pub fn passes(&self) -> bool {
        matches!(self, Error::Busy | Error::Locked | Error::Conflict | Error::Unavailable(_) | Error::StorageFull)
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "invalid_fields",
            Error::BadRequest { code, .. }
            | Error::Unauthenticated { code, .. }
            | Error::Forbidden { code, .. }
            | Error::NotNow { code, .. } => code,
            Error::ExternalIdTaken => "external_id_taken",
            Error::NotFound(_) => "not_found",
            Error::UserNotFound => "user_not_found",
            Error::NoWebhook => "webhook_not_found",
            Error::SessionNotFound => "session_not_found",
            Error::EmailTaken => "email_taken",
            Error::PhoneTaken => "phone_taken",
            Error::NoRoute => "no_route",
            Error::OutOfScope => "out_of_scope",
            Error::MethodNotAllowed => "method_not_allowed",
            Error::BodyTimeout => "body_timeout",
            Error::Stale => "stale",
            Error::TooLarge(_) => "too_large",
            Error::IdempotencyKeyReused => "idempotency_key_reused",
            Error::StillRunning => "idempotency_in_progress",
            Error::TooMany(_) => "too_many",
            Error::Busy | Error::Locked | Error::Conflict => "busy",
            Error::Unavailable(_) => "unavailable",
            Error::StorageFull => "storage_full",
            Error::DiskFailed(_) => "disk_failed",
            Error::Integrity => "data_integrity",
            Error::Operator(_) => "operator",
            Error::Unique(_) | Error::Rehearsed | Error::Internal(_) => "internal",
        }
    }

    /// The fields at fault, empty unless that is what is wrong.
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Error::Invalid(fields) => fields,
            _ => &[],
        }
    }

    /// What the log may hold beyond code and status: the inner text of failures that are ours.
    pub fn for_log(&self) -> Option<&str> {
        match self {
            Error::Internal(what) | Error::Unique(what) | Error::Unavailable(what) | Error::DiskFailed(what) => {
                Some(what)
            }
            Error::Integrity => Some("a stored value does not open under the data key: the wrong key, or damage"),
            _ => None,
        }
    }
}

/// The sentence for the caller. The four texts of the partner API's error table are exact.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(fields) => {
                let mut texts: Vec<&str> = fields.iter().map(|e| e.message.as_str()).collect();
                texts.dedup();
                f.write_str(&texts.join("; "))
            }
            Error::BadRequest { message, .. } | Error::Operator(message) => f.write_str(message),
            Error::Unauthenticated { message, .. }
            | Error::Forbidden { message, .. }
            | Error::NotNow { message, .. }
            | Error::NotFound(message)
            | Error::TooMany(message) => f.write_str(message),
            Error::ExternalIdTaken => f.write_str("External id already exists"),
            Error::UserNotFound => f.write_str("User not found"),
            Error::NoWebhook => f.write_str("There is no such webhook"),
            Error::SessionNotFound => f.write_str("Session not found"),
            Error::EmailTaken => f.write_str("Email already exists"),
            Error::PhoneTaken => f.write_str("Phone number already exists"),
            Error::NoRoute => f.write_str("There is nothing at this address; see /openapi for what exists"),
            Error::OutOfScope => {
                f.write_str("Usher does not have this: referral invites, promotions, checkout, invoices and payments are out of its scope")
            }
            Error::MethodNotAllowed => f.write_str("This address does not take this method; see the Allow header"),
            Error::BodyTimeout => f.write_str("The body did not arrive within 30 seconds"),
            Error::Stale => f.write_str("The user has changed since you read it; read it again and decide anew"),
            Error::IdempotencyKeyReused => f.write_str(
                "This Idempotency-Key was already used for another request; take a new key for a new request",
            ),
            Error::StillRunning => {
                f.write_str("The request with this Idempotency-Key is still running; send it again in a second")
            }
            Error::TooLarge(limit) if *limit >= MIB => {
                write!(f, "The body is larger than {} MiB; send it in parts, or have `usher import` read the file", limit / MIB)
            }
            Error::TooLarge(limit) => write!(f, "The body is larger than {} KiB", limit / 1024),
            Error::Busy | Error::Locked | Error::Conflict => f.write_str("The server is busy; try again in a second"),
            Error::Unavailable(_) => f.write_str("The database does not answer; try again in a second"),
            Error::StorageFull => f.write_str("The server's disk is full; nothing was changed"),
            Error::DiskFailed(_) => f.write_str("The server's disk has failed; whether this was done is not known"),
            Error::Integrity => f.write_str("Stored data could not be read; tell the operator the request id"),
            Error::Unique(_) | Error::Rehearsed | Error::Internal(_) => {
                f.write_str("Something went wrong on our side; tell the operator the request id")
            }
        }
    }
}

impl std::error::Error for Error {}
