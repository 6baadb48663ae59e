//! The audit trail: who did what to whom, written in the transaction that did it, so that neither is there without the
//! other; and who tried what and was refused. [`chain`] makes it tell when somebody changes it.

pub mod chain;
mod store;
pub mod tally;

pub use store::{
    Call, Filter, Order, Outcome, after, before, dates_called, entry, find, has_acted, newest, of_request_id, of_target,
};

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::apps::{AppId, Environment, EnvironmentId};
use crate::billing;
use crate::caller::{Actor, Caller, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::Result;
use crate::field::Wire;
use crate::place::Place;
use crate::random;
use crate::subscriptions;
use crate::users::{Email, Health, IDENTITY, Person, Profile, User, UserId};
use crate::webhooks;
use store::Draft;

id_type!(
    /// An entry of the audit trail.
    EntryId
);

impl EntryId {
    /// A new id that sorts after those of earlier times, and after those that this program made before.
    fn next(now: Timestamp) -> EntryId {
        EntryId(random::sequential_uuid(now))
    }

    /// The first id that an entry of that time can have.
    fn first(at: Timestamp) -> EntryId {
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
    /// What was done, or asked for.
    #[derive(clap::ValueEnum)]
    pub enum Action {
        /// A user was made.
        UserCreated = "user.created",
        /// Facts about a user were changed.
        UserUpdated = "user.updated",
        /// A user was frozen.
        UserFrozen = "user.frozen",
        /// A user was deleted.
        UserDeleted = "user.deleted",
        /// A user was made active again.
        UserRestored = "user.restored",
        /// A user was given a role, in place of the one they had; `member`, if that was taken away.
        RoleGiven = "user.role_given",
        /// A user was erased: nothing of them is left but their id.
        UserErased = "user.erased",
        /// Health data of a user was answered to someone, and nothing was changed.
        HealthRead = "user.health_read",
        /// The plan of a subscription was changed, or its start.
        SubscriptionUpdated = "subscription.updated",
        /// A subscription was paused.
        SubscriptionPaused = "subscription.paused",
        /// A subscription was resumed, or begun anew.
        SubscriptionResumed = "subscription.resumed",
        /// A subscription was cancelled: that it ends, and when, was said.
        SubscriptionCancelled = "subscription.cancelled",
        /// A subscription that was cancelled has ended.
        SubscriptionEnded = "subscription.ended",
        /// A link was followed, which signed the person in.
        LinkFollowed = "link.followed",
        /// Another link was sent.
        LinkSent = "link.sent",
        /// A tenant was made.
        TenantCreated = "tenant.created",
        /// Facts about a tenant were changed.
        TenantUpdated = "tenant.updated",
        /// A role was made.
        RoleCreated = "role.created",
        /// A role was removed.
        RoleRemoved = "role.removed",
        /// A key was made.
        KeyCreated = "key.created",
        /// A key was changed.
        KeyUpdated = "key.updated",
        /// A key was revoked.
        KeyRevoked = "key.revoked",
        /// An app was made.
        AppCreated = "app.created",
        /// An app was changed.
        AppUpdated = "app.updated",
        /// What an app says in a mail was changed.
        MailWorded = "mail.worded",
        /// A webhook was made.
        WebhookCreated = "webhook.created",
        /// A webhook was changed, enabled or disabled.
        WebhookUpdated = "webhook.updated",
        /// A webhook was disabled, for its endpoint said that it is gone.
        WebhookGone = "webhook.gone",
        /// A webhook was removed.
        WebhookRemoved = "webhook.removed",
        /// A webhook was given new keys.
        WebhookRotated = "webhook.rotated",
        /// A webhook was sent a test.
        WebhookTested = "webhook.tested",
        /// A webhook was sent again what it was sent before.
        WebhookReplayed = "webhook.replayed",
        /// An environment was connected to a billing account.
        BillingConnected = "billing.connected",
        /// An environment was disconnected from a billing account.
        BillingDisconnected = "billing.disconnected",
        /// Users of before were queued to become customers.
        BillingExistingQueued = "billing.existing_queued",
        /// What billing had given up was queued again: a job, or all of an environment.
        BillingRetried = "billing.retried",
        /// What billing had given up was counted as done: the operator has seen to it there.
        BillingDismissed = "billing.dismissed",
        /// A customer was forgotten, for the billing provider said that it was deleted there, or the operator that another
        /// account takes the place of theirs.
        CustomerForgotten = "billing.customer_forgotten",
        /// A request came again and was given its first answer.
        RequestReplayed = "request.replayed",
        /// A request was refused.
        RequestRefused = "request.refused",
        /// A person signed in by a mail that they asked for.
        SignedIn = "user.signed_in",
        /// A session was ended.
        SessionEnded = "session.ended",
        /// All sessions of a user were ended; those of everybody, if it names no user.
        SessionsEnded = "sessions.ended",
        /// An app was given a code by a browser's session, and nobody was asked.
        CodeIssued = "code.issued",
        /// An app was given tokens of a user for a code; or the operator an access token, to try things out.
        TokenIssued = "token.issued",
        /// An app was given new tokens of a user for a refresh token.
        TokenRefreshed = "token.refreshed",
        /// A signing key was made, to take another's place.
        SigningKeyRotated = "signing_key.rotated",
        /// A signing key was revoked.
        SigningKeyRevoked = "signing_key.revoked",
        /// An administrator was made.
        AdminCreated = "admin.created",
        /// An administrator was given another role.
        AdminRoleChanged = "admin.role_changed",
        /// An administrator was made one no longer.
        AdminRemoved = "admin.removed",
        /// An administrator was given a link by the operator, or sent one by another administrator.
        AdminLinkMade = "admin.link_made",
        /// An administrator signed in.
        AdminSignedIn = "admin.signed_in",
        /// An administrator signed out.
        AdminSignedOut = "admin.signed_out",
        /// A file of people was sent, and waits for somebody to say how it goes on.
        ImportFileSent = "import.file_sent",
        /// A file that waited was removed.
        ImportFileDiscarded = "import.file_discarded",
        /// A test mail was sent.
        MailTested = "mail.tested",
        /// A file of people was begun to be taken over; the import's id is the request's id of all that it did.
        ImportBegun = "import.begun",
        /// An import was begun to be undone.
        ImportUndone = "import.undone",
        /// An import was broken off, and why.
        ImportBrokenOff = "import.broken_off",
        /// Users were written to a file.
        UsersExported = "users.exported",
        /// Entries of the audit trail were exported by the dashboard.
        AuditExported = "audit.exported",
    }
}

impl Action {
    /// Whether what changed is for owners alone: it is about a key or an account, or says why health data was looked at.
    pub fn is_for_owners(&self) -> bool {
        use Action::{
            BillingConnected, BillingDisconnected, BillingDismissed, BillingExistingQueued, BillingRetried, HealthRead,
            KeyCreated, KeyRevoked, KeyUpdated, SigningKeyRevoked, SigningKeyRotated,
        };
        let is_of_a_key = matches!(self, KeyCreated | KeyUpdated | KeyRevoked | SigningKeyRotated | SigningKeyRevoked);
        let is_of_an_account = matches!(
            self,
            BillingConnected | BillingDisconnected | BillingDismissed | BillingExistingQueued | BillingRetried
        );
        is_of_a_key || is_of_an_account || matches!(self, HealthRead)
    }
}

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

/// What of health is the subscription's, and no secret of the body.
const PLAN: [&str; 3] = ["paymentPlan", "planStartDate", "subscriptionDates"];

/// Whether the name of a field alone tells of the body, so that it is for nobody who may not see health data.
pub fn tells_of_health(name: &str) -> bool {
    Health::FIELDS.iter().any(|wire| wire.name == name) && !PLAN.contains(&name)
}

/// What `result` says of what was done.
const DONE: &str = "done";

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Where; [`INSTALLATION`] if in no environment.
    pub environment: EnvironmentId,
    /// What was done.
    pub action: Action,
    /// Of a refused request, its method and route.
    pub operation: Option<String>,
    /// By whom; `None` if that is not known.
    pub actor: Option<Actor>,
    /// The user it is about, if it is about one.
    pub user: Option<UserId>,
    /// What else it is about: a key, an app; or the UUID in the path of a refused request, as the caller sent it.
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
    /// What changed; see [`note`]. Empty if there was nothing to change, or it was erased.
    pub changes: Changes,
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
        match self.actor {
            Some(Actor::Key(id)) => (ActorKind::Key, Some(id.0)),
            Some(Actor::Person(id)) => (ActorKind::Person, Some(id.0)),
            Some(Actor::Admin(id)) => (ActorKind::Admin, Some(id.0)),
            Some(Actor::Operator) => (ActorKind::Operator, None),
            Some(Actor::Usher) => (ActorKind::Usher, None),
            None => (ActorKind::Unknown, None),
        }
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

/// What changed, as JSON: `{"fields": {"given_name": ["Jane", "Janet"]}, "health": ["currentWeight"]}`. A field whose
/// values are nobody's business later is `"changed"`.
pub struct Changes(pub Value);

crate::secret::redacted!(Changes);

/// Notes what was done to a user: every fact that changed, before and after; of health, which ones. This is where a
/// change becomes known, so billing and, as from every entry with changes, webhooks are told from here too.
///
/// # Errors
/// The database refuses.
pub fn note(tx: &Tx, origin: Origin, action: Action, user: &User, before: &Person) -> Result<()> {
    note_changes(tx, origin, action, user, &changes(before, &user.person))?;
    subscriptions::watch(tx, action, user, before)?;
    billing::announce(tx, action, user, before, origin.test)
}

/// Notes what was done to a user where that is not about facts of their person.
///
/// # Errors
/// The database refuses.
pub fn note_changes(tx: &Tx, origin: Origin, action: Action, user: &User, changes: &Changes) -> Result<()> {
    let draft = Draft { user: Some(user.id), changes: Some(changes), ..Draft::of(user.environment, action) };
    store::insert(tx, &draft.by(origin))?;
    webhooks::announce(tx, action, user, changes)
}

impl Changes {
    /// No fact changed.
    pub fn none() -> Changes {
        Changes(json!({"fields": {}, "health": []}))
    }

    /// The names of the facts that changed, but those of health.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0["fields"].as_object().into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// The names of the facts of health that changed.
    pub fn health(&self) -> impl Iterator<Item = &str> {
        self.0["health"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// The names of the facts that changed, as whoever may not see health data is told them: of health, not even the names, for
    /// which field it was would tell of an illness.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.fields().chain(self.health_words())
    }

    fn health_words(&self) -> impl Iterator<Item = &str> {
        let any = |of_plan: bool| self.health().any(|name| PLAN.contains(&name) == of_plan);
        let words = [(any(true), "subscription"), (any(false), "health")];
        words.into_iter().filter(|(any, _)| *any).map(|(_, word)| word)
    }

    /// The same, with these words for the names of health.
    #[must_use]
    pub fn discreet(&self) -> Changes {
        let health: Vec<&str> = self.health_words().collect();
        let mut told = self.0.clone();
        if !health.is_empty() {
            told["health"] = json!(health);
        }
        Changes(told)
    }

    /// The change of one field.
    pub fn of_field(name: &str, before: impl Serialize, after: impl Serialize) -> Changes {
        Changes(json!({"fields": {name: [before, after]}, "health": []}))
    }

    /// What is different between two JSON objects about one thing; `null` is a thing that is not there.
    pub fn between(before: &Value, after: &Value) -> Changes {
        let names = before.as_object().into_iter().chain(after.as_object()).flat_map(Map::keys);
        let differ = names.filter(|name| before[name.as_str()] != after[name.as_str()]);
        let fields: Map<String, Value> =
            differ.map(|name| (name.clone(), json!([before[name.as_str()], after[name.as_str()]]))).collect();
        Changes(json!({ "fields": fields, "health": [] }))
    }

    /// The same, telling of these fields only that they changed.
    #[must_use]
    pub fn hiding(&self, names: impl Iterator<Item = &'static str>) -> Changes {
        let mut told = self.0.clone();
        for name in names {
            if let Some(values) = told["fields"].get_mut(name) {
                *values = "changed".into();
            }
        }
        Changes(told)
    }
}

/// What one request has done to a user within this transaction.
///
/// # Errors
/// The database does not answer.
pub fn of_request(tx: &Tx, user: UserId, request: Option<Uuid>) -> Result<Vec<Entry>> {
    let now = store::of_moment(tx, user, tx.now())?;
    Ok(now.into_iter().filter(|entry| entry.request == request).collect())
}

/// How many entries of a trail are read at once.
const PAGE: i64 = 1000;

/// Every e-mail address that a user has or had, as far as the trail knows: one that somebody has changed keeps nobody from
/// being erased.
///
/// # Errors
/// The database does not answer.
pub fn addresses(tx: &Tx, user: UserId) -> Result<Vec<Email>> {
    let (mut all, mut from) = (BTreeMap::new(), Some(Place::FIRST));
    while let Some(place) = from {
        let (changes, next) = store::facts_after(tx, user, place, PAGE)?;
        let values = changes.iter().filter_map(|changes| changes.0["fields"]["email"].as_array()).flatten();
        let emails = values.filter_map(Value::as_str).filter_map(Email::new);
        all.extend(emails.map(|email| (email.key().to_owned(), email)));
        from = next;
    }
    Ok(all.into_values().collect())
}

/// Notes that health data of a user is answered to someone.
///
/// # Errors
/// The database refuses.
pub fn note_read(tx: &Tx, origin: Origin, user: &User) -> Result<()> {
    let draft = Draft { user: Some(user.id), ..Draft::of(user.environment, Action::HealthRead) };
    store::insert(tx, &draft.by(origin))
}

/// Notes what an app was given of a user, who acts by it.
///
/// # Errors
/// The database refuses.
pub fn note_grant(
    tx: &Tx,
    action: Action,
    (environment, user): (EnvironmentId, UserId),
    app: AppId,
    request: Option<Uuid>,
) -> Result<()> {
    let origin = Origin { request, ..Origin::of(Actor::Person(user)) };
    let draft = Draft { user: Some(user), target: Some(app.0), ..Draft::of(environment, action) };
    store::insert(tx, &draft.by(origin))
}

/// Notes what was done to a user, and to no fact about them, by somebody unknown.
///
/// # Errors
/// The database refuses.
pub fn note_by_stranger(tx: &Tx, action: Action, user: &User, request: Option<Uuid>) -> Result<()> {
    store::insert(tx, &Draft { user: Some(user.id), request, ..Draft::of(user.environment, action) })
}

/// Notes what was done to something else than a user, or to no fact about one.
///
/// # Errors
/// The database refuses.
pub fn record(tx: &Tx, environment: EnvironmentId, origin: Origin, action: Action, target: Uuid) -> Result<()> {
    store::insert(tx, &Draft { target: Some(target), ..Draft::of(environment, action) }.by(origin))
}

/// Of what environment something is, and of which user, if it is theirs and goes with them.
pub struct Whose {
    /// The environment.
    pub environment: EnvironmentId,
    /// The user.
    pub user: Option<UserId>,
}

/// Notes what became different about something else than a user. Nobody erases these entries: what may be about a person,
/// or open a door, has no place in `changes`.
///
/// # Errors
/// The database refuses.
pub fn record_changes(
    tx: &Tx,
    environment: EnvironmentId,
    origin: Origin,
    action: Action,
    target: Uuid,
    changes: &Changes,
) -> Result<()> {
    record_changes_of(tx, Whose { environment, user: None }, origin, action, target, changes)
}

/// The same of something that may be a user's: erasing them empties the entry.
///
/// # Errors
/// The database refuses.
pub fn record_changes_of(
    tx: &Tx,
    whose: Whose,
    origin: Origin,
    action: Action,
    target: Uuid,
    changes: &Changes,
) -> Result<()> {
    let draft = Draft { user: whose.user, target: Some(target), ..Draft::of(whose.environment, action) };
    store::insert(tx, &Draft { changes: Some(changes), ..draft }.by(origin))?;
    webhooks::announce_other(tx, action, whose.environment, target, changes)
}

/// Notes that a request came again and is given its first answer, in which there may be health data of whom it is about.
///
/// # Errors
/// The database refuses.
pub fn note_replay(tx: &Tx, caller: &Caller, user: Option<UserId>) -> Result<()> {
    let draft = Draft { user, ..Draft::of(caller.scope.environment, Action::RequestReplayed) };
    store::insert(tx, &draft.by(caller.origin()))
}

/// Takes what changed about a user out of the trail, notes that this was done, and says in how many entries. That there
/// were changes, when, and by whom, stays, and so does the chain.
///
/// # Errors
/// The database refuses.
pub fn erase(tx: &Tx, origin: Origin, user: &User) -> Result<usize> {
    let entries = empty(tx, user.id)?;
    note(tx, origin, Action::UserErased, user, &user.person)?;
    Ok(entries)
}

/// Takes what changed out of the entries of somebody who is erased, and says out of how many.
///
/// # Errors
/// The database refuses.
pub(crate) fn empty(tx: &Tx, user: UserId) -> Result<usize> {
    tx.erase_audit(user)
}

/// An attempt that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was asked for, [`Action::RequestRefused`] if no word says it better.
    pub action: Action,
    /// The method and the route of the request: never its path, which may hold an address or a secret.
    pub operation: Option<String>,
    /// The user it is certainly about.
    pub user: Option<UserId>,
    /// The UUID in the path.
    pub target: Option<Uuid>,
    /// The request, if no origin tells.
    pub request: Option<Uuid>,
    /// The code of the error.
    pub code: &'static str,
    /// For how many attempts it stands.
    pub times: i64,
}

impl Refusal {
    /// One attempt, refused with that error code.
    pub fn of(action: Action, code: &'static str) -> Refusal {
        Refusal { action, operation: None, user: None, target: None, request: None, code, times: 1 }
    }
}

/// Notes a refused attempt, of someone unknown unless there is an origin. Where the attempt's own transaction is rolled
/// back, this needs another.
///
/// # Errors
/// The database refuses.
pub fn refuse(tx: &Tx, environment: EnvironmentId, origin: Option<Origin>, refusal: &Refusal) -> Result<()> {
    let draft = Draft {
        operation: refusal.operation.as_deref(),
        user: refusal.user,
        target: refusal.target,
        request: refusal.request,
        result: refusal.code,
        times: refusal.times,
        ..Draft::of(environment, refusal.action)
    };
    match origin {
        Some(origin) => store::insert(tx, &draft.by(origin)),
        None => store::insert(tx, &draft),
    }
}

/// How many refused attempts an hour are noted of one person, for whom anyone may try who once had a link of theirs.
const REFUSALS_PER_HOUR: i64 = 1000;

/// Notes that somebody unknown was refused what they tried as, or for, a person; of very many, the first.
///
/// # Errors
/// The database refuses.
pub fn refuse_stranger(
    tx: &Tx,
    (environment, user): (EnvironmentId, UserId),
    action: Action,
    request: Option<Uuid>,
    code: &'static str,
) -> Result<()> {
    if store::count_refused(tx, user, tx.now() - std::time::Duration::from_hours(1))? >= REFUSALS_PER_HOUR {
        return Ok(());
    }
    let draft = Draft { user: Some(user), result: code, request, ..Draft::of(environment, action) };
    store::insert(tx, &draft)
}

fn changes(before: &Person, after: &Person) -> Changes {
    let changed = |wire: &Wire<Person>| {
        let values = [(wire.show)(before), (wire.show)(after)];
        (values[0] != values[1]).then_some((wire.name, values))
    };
    let fields: Map<String, Value> = Profile::FIELDS
        .iter()
        .chain(IDENTITY)
        .filter_map(changed)
        .map(|(name, values)| (name.to_owned(), json!(values)))
        .collect();
    let health: Vec<&str> = Health::FIELDS.iter().filter_map(changed).map(|(name, _)| name).collect();
    Changes(json!({ "fields": fields, "health": health }))
}
