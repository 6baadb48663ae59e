//! One entry: what it holds, and how it is shown.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Action, Changes};
use crate::apps::{Environment, EnvironmentId};
use crate::caller::Actor;
use crate::clock::Timestamp;
use crate::db::{id_type, words};
use crate::random;
use crate::users::UserId;

id_type!(
    /// An entry of the audit trail.
    EntryId
);

impl EntryId {
    /// A new id that sorts after those of earlier times, and after those that this program made before.
    pub(super) fn next(now: Timestamp) -> EntryId {
        EntryId(random::sequential_uuid(now))
    }

    /// The first id that an entry of that time can have.
    pub(super) fn first(at: Timestamp) -> EntryId {
        EntryId(random::first_uuid(at))
    }

    /// When the entry was written.
    pub fn time(self) -> Timestamp {
        random::time_of(self.0)
    }
}

/// The environment of what belongs to none: the installation.
pub const INSTALLATION: EnvironmentId = EnvironmentId(Uuid::nil());

words! {
    /// What kind of actor it was.
    pub enum ActorKind {
        /// An API key.
        Key = "key",
        /// A person, for themselves.
        Person = "person",
        /// An administrator, by the dashboard.
        Admin = "admin",
        /// The operator of the installation.
        Operator = "operator",
        /// Usher itself.
        Usher = "usher",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

/// What `result` says of what was done.
pub(super) const DONE: &str = "done";

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Where; [`INSTALLATION`] if in no environment.
    pub environment: EnvironmentId,
    /// What was done.
    pub action: Action,
    /// Of a refused request, its method and route; of a refused command, its name.
    pub operation: Option<String>,
    /// By whom; `None` if that is not known.
    pub actor: Option<Actor>,
    /// The user it is about, if it is about one.
    pub user: Option<UserId>,
    /// What else it is about: a key, an app; or the UUID in the path of a refused request, or among the words of a
    /// refused command, as it was sent.
    pub target: Option<Uuid>,
    /// When.
    pub created_at: Timestamp,
    /// `done`, or the code of the error.
    pub result: String,
    /// For how many attempts it stands.
    pub times: i64,
    /// The request that did it, if one did.
    pub request: Option<Uuid>,
    /// The API date that the request went by.
    pub date: Option<String>,
    /// What changed; see [`note()`](super::note()). Empty if there was nothing to change, or it was erased.
    pub changes: Changes,
}

impl ActorKind {
    /// The kind of an actor, and which one; of nobody whom Usher knows, unknown.
    pub(super) fn of(actor: Option<Actor>) -> (ActorKind, Option<Uuid>) {
        match actor {
            Some(Actor::Key(id)) => (ActorKind::Key, Some(id.0)),
            Some(Actor::Person(id)) => (ActorKind::Person, Some(id.0)),
            Some(Actor::Admin(id)) => (ActorKind::Admin, Some(id.0)),
            Some(Actor::Operator) => (ActorKind::Operator, None),
            Some(Actor::Usher) => (ActorKind::Usher, None),
            None => (ActorKind::Unknown, None),
        }
    }
}

impl Entry {
    /// The entry as it is told to whoever may see neither health data nor what is for owners.
    #[must_use]
    pub fn discreet(self) -> Entry {
        let changes = if self.action.is_for_owners() { Changes::none() } else { self.changes.discreet() };
        Entry { changes, ..self }
    }

    /// Whether it was done, and not refused.
    pub fn is_done(&self) -> bool {
        self.result == DONE
    }

    /// What kind of actor it was, and which one.
    pub fn by(&self) -> (ActorKind, Option<Uuid>) {
        ActorKind::of(self.actor)
    }

    /// The entry as it is exported, with the environment it is of.
    pub fn export(&self, place: Option<&Environment>) -> Value {
        let (actor, actor_id) = self.by();
        json!({
            "id": self.id,
            "time": self.created_at,
            "clientId": place.map(|place| place.app),
            "environment": place.map(|place| place.kind),
            "action": self.action,
            "operation": self.operation,
            "actor": actor,
            "actorId": actor_id,
            "userId": self.user,
            "target": self.target,
            "result": self.result,
            "times": self.times,
            "requestId": self.request,
            "apiVersion": self.date,
            "changes": self.changes.0,
        })
    }

    /// The entry as people read it: of health facts, only which ones changed.
    pub fn show(&self) -> Value {
        let (kind, id) = self.by();
        json!({
            "id": self.id,
            "action": self.action,
            "operation": self.operation,
            "actor": {"type": kind, "id": id},
            "result": self.result,
            "times": self.times,
            "createdAt": self.created_at,
            "requestId": self.request,
            "changes": self.changes.0,
        })
    }
}
