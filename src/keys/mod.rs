//! API keys: `usher_<sandbox|live>_<r|w>_<random><checksum>`.
//!
//! A key is shown once and stored as a hash. What it may do stands in its row, never in what the caller
//! says of it. The checksum lets a mistyped or invented key be refused without asking the database.

mod store;

pub use store::{calls_before, list, note_use, of_environment};

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::apps::{Environment, EnvironmentId, Kind};
use crate::audit::{self, Action, Changes};
use crate::caller::{Caller, Origin, Scope};
use crate::clock::{Stopwatch, Timestamp};
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::random;
use crate::roles::Rights;
use crate::secret::Secret;

id_type!(
    /// A key's public name.
    KeyId
);

/// How many characters of randomness a key has: 32 of base 62 are 190 bits.
const RANDOM: usize = 32;
/// How many characters its checksum has.
const CHECKSUM: usize = 6;
/// The longest name.
const LONGEST_NAME: usize = 256;

words! {
    /// What a key may do.
    #[derive(PartialOrd, clap::ValueEnum)]
    pub enum Access {
        /// Read.
        Read = "read",
        /// Read and write.
        Write = "write",
    }
}

impl Access {
    /// What it lets a key do to users.
    pub fn rights(self) -> Rights {
        match self {
            Access::Read => Rights::READ,
            Access::Write => Rights::ALL,
        }
    }
}

/// A key's row. The key itself is not in it.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its public name.
    pub id: KeyId,
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// The partner API date it is pinned to.
    pub api_version: Option<String>,
    /// The tenant it is bound to, by name.
    pub tenant: Option<String>,
    /// Who uses it: its app, environment and scope.
    pub caller: Caller,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working by itself, as it was made; see [`Key::ends_at`].
    pub expires_at: Option<Timestamp>,
    /// When it stops working, once another has taken its place.
    pub retires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, noted once a second.
    pub last_used_at: Option<Timestamp>,
}

/// The calls of one date of the partner API by one key, whatever they were answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// The key.
    pub key: KeyId,
    /// The date.
    pub date: String,
    /// When the last one was, noted once a second.
    pub last_at: Timestamp,
}

impl Key {
    /// As the audit trail tells of it.
    fn show(&self) -> Value {
        json!({
            "name": self.name, "access": self.access, "tenantId": self.caller.scope.tenant, "apiVersion": self.api_version,
            "expiresAt": self.expires_at,
        })
    }

    /// When it stops working by itself.
    pub fn ends_at(&self) -> Option<Timestamp> {
        [self.expires_at, self.retires_at].into_iter().flatten().min()
    }

    /// Whether it works at `now`: not revoked, not expired.
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.ends_at().is_none_or(|at| now < at)
    }

    /// How long it was to work when it was made.
    fn lifetime(&self) -> Option<Duration> {
        let millis = self.expires_at?.0 - self.created_at.0;
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
    }

    /// How it stands at `now`, in one word.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.revoked_at, self.works(now)) {
            (Some(_), _) => "revoked",
            (None, true) => "works",
            (None, false) => "expired",
        }
    }
}

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is called.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// The tenant it is bound to, by name or id; a new name makes a new tenant.
    pub tenant: Option<String>,
    /// The partner API date it is pinned to.
    pub api_version: Option<String>,
    /// How long it works.
    pub expires_in: Option<Duration>,
}

/// Makes a key and returns it with its row: the only time it is seen.
///
/// # Errors
/// The name is more than one line, or very long.
pub fn create(tx: &Tx, origin: Origin, environment: &Environment, new: &NewKey) -> Result<(Key, Secret)> {
    if new.name.chars().count() > LONGEST_NAME || new.name.chars().any(char::is_control) {
        return Err(Error::bad_request("malformed_name", "A key's name is one line of at most 256 characters"));
    }
    let tenant =
        new.tenant.as_deref().map(|name| crate::tenants::named(tx, environment.id, origin, name)).transpose()?;
    insert(tx, origin, environment.kind, Scope { environment: environment.id, tenant }, new)
}

/// Makes a key of that scope, whatever tenant `new` names.
fn insert(tx: &Tx, origin: Origin, kind: Kind, scope: Scope, new: &NewKey) -> Result<(Key, Secret)> {
    let (id, key) = (KeyId::random(), mint(kind, new.access));
    store::insert(tx, id, scope, new, &key)?;
    let row = store::by_id(tx, id)?.ok_or_else(|| Error::internal("a key just made is not there"))?;
    note(tx, origin, Action::KeyCreated, &row, &Changes::between(&Value::Null, &row.show()))?;
    Ok((row, key))
}

/// Makes a key that takes another's place: what it may do is the same, and it works as long as that one was to when it was
/// made, however often that has been replaced. The one before stops after `overlap`, in which its holder can change over.
///
/// # Errors
/// There is no such key, or it does not work any more.
pub fn rotate(tx: &Tx, origin: Origin, id: KeyId, overlap: Duration) -> Result<(Key, Secret)> {
    let before = store::by_id(tx, id)?.ok_or_else(|| unknown(id))?;
    if !before.works(tx.now()) {
        return Err(Error::NotNow { code: "key_ended", message: "This key does not work any more; make a new one" });
    }
    let ends = tx.now() + overlap;
    if before.ends_at().is_none_or(|at| ends < at) {
        store::retire(tx, id, ends)?;
        let changes = Changes::of_field("expiresAt", before.ends_at(), ends);
        note(tx, origin, Action::KeyUpdated, &before, &changes)?;
    }
    let Caller { kind, scope, .. } = before.caller;
    let new = NewKey {
        expires_in: before.lifetime(),
        name: before.name,
        access: before.access,
        // Its scope has the tenant's id. The name can find another by now, or none.
        tenant: None,
        api_version: before.api_version,
    };
    insert(tx, origin, kind, scope, &new)
}

/// A key of an environment.
///
/// # Errors
/// It has no such key.
pub fn get(tx: &Tx, environment: EnvironmentId, id: KeyId) -> Result<Key> {
    let key = store::by_id(tx, id)?.filter(|key| key.caller.scope.environment == environment);
    key.ok_or(Error::NotFound("There is no such key"))
}

/// The row of a presented key, whether it still works or not; `None` for one that was never made.
///
/// # Errors
/// The database does not answer.
pub fn find(tx: &Tx, presented: &Secret) -> Result<Option<Key>> {
    store::by_hash(tx, &presented.hash())
}

/// Fixes the API date of a key that has none: what happens at its first request to a dated API. `false` if it has one.
///
/// # Errors
/// The database refuses.
pub fn pin(tx: &Tx, caller: &Caller, id: KeyId, date: &str) -> Result<bool> {
    let pinned = store::pin(tx, id, date)?;
    if pinned {
        let changes = Changes::of_field("apiVersion", Value::Null, date);
        audit::record_changes(tx, caller.scope.environment, caller.origin(), Action::KeyUpdated, id.0, &changes)?;
    }
    Ok(pinned)
}

/// Moves a key to another API date.
///
/// # Errors
/// There is no such key.
pub fn move_to(tx: &Tx, origin: Origin, id: KeyId, date: &str) -> Result<()> {
    let key = store::by_id(tx, id)?.ok_or_else(|| unknown(id))?;
    if key.api_version.as_deref() == Some(date) {
        return Ok(());
    }
    store::move_to(tx, id, date)?;
    let changes = Changes::of_field("apiVersion", &key.api_version, date);
    note(tx, origin, Action::KeyUpdated, &key, &changes)
}

/// Makes a key stop working.
///
/// # Errors
/// There is no such key.
pub fn revoke(tx: &Tx, origin: Origin, id: KeyId) -> Result<()> {
    let key = store::by_id(tx, id)?.ok_or_else(|| unknown(id))?;
    if key.revoked_at.is_some() {
        return Ok(());
    }
    store::revoke(tx, id)?;
    let changes = Changes::of_field("revokedAt", Value::Null, tx.now());
    note(tx, origin, Action::KeyRevoked, &key, &changes)
}

fn note(tx: &Tx, origin: Origin, action: Action, key: &Key, changes: &Changes) -> Result<()> {
    audit::record_changes(tx, key.caller.scope.environment, origin, action, key.id.0, changes)
}

fn unknown(id: KeyId) -> Error {
    Error::operator(format!("there is no key {id}. `usher key list` shows those that exist."))
}

/// Whether `text` can be a key at all: the right shape and checksum.
pub fn is_well_formed(text: &str) -> bool {
    let Some((start, checksum)) = text.split_at_checked(text.len().saturating_sub(CHECKSUM)) else { return false };
    let mut parts = start.splitn(4, '_');
    let shape = (parts.next(), parts.next().and_then(Kind::named), parts.next(), parts.next());
    matches!(shape, (Some("usher"), Some(_), Some("r" | "w"), Some(random))
        if random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric()))
        && checksum == checksum_of(start)
}

fn mint(kind: Kind, access: Access) -> Secret {
    let letter = if access == Access::Write { 'w' } else { 'r' };
    let start = format!("usher_{}_{letter}_{}", kind.as_str(), random::base62(RANDOM));
    Secret::new(format!("{start}{}", checksum_of(&start)))
}

fn checksum_of(start: &str) -> String {
    random::base62_of(crc32fast::hash(start.as_bytes()))
}

/// Keys that were looked up a moment ago: a busy caller does not cost a read for each request, and a revoked key still
/// stops within a second on every server.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<Vec<u8>, (Stopwatch, Key)>>);

impl KeyCache {
    const FRESH: Duration = Duration::from_millis(500);
    /// More keys than any installation has; whoever has them all at once pays for reads again.
    const MOST: usize = 10_000;

    /// The row of a presented key, if it was looked up a moment ago.
    pub fn find(&self, presented: &Secret) -> Option<Key> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = presented.hash();
        match known.get(&hash) {
            Some((since, key)) if since.elapsed() < Self::FRESH => Some(key.clone()),
            Some(_) => {
                known.remove(&hash);
                None
            }
            None => None,
        }
    }

    /// Remembers a row that was just looked up, `since` before the database was asked.
    pub fn note(&self, presented: &Secret, since: Stopwatch, key: &Key) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(presented.hash(), (since, key.clone()));
    }
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Use {
    /// The key.
    pub key: KeyId,
    /// The date of the partner API that is called; `None` for any use at all.
    pub date: Option<&'static str>,
}

/// Which keys were used when, kept in memory so that a request never writes for it.
#[derive(Default)]
pub struct KeyUse(Mutex<HashMap<Use, Timestamp>>);

impl KeyUse {
    fn all(&self) -> MutexGuard<'_, HashMap<Use, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use.
    pub fn note(&self, what: Use, at: Timestamp) {
        self.all().insert(what, at);
    }

    /// Takes what was noted since the last time.
    pub fn take(&self) -> Vec<(Use, Timestamp)> {
        self.all().drain().collect()
    }

    /// Takes back what could not be written. What was noted since is newer.
    pub fn put_back(&self, used: Vec<(Use, Timestamp)>) {
        let mut all = self.all();
        for (what, before) in used {
            all.entry(what).or_insert(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_that_could_not_be_written_are_taken_back_beside_newer_ones() {
        let (used, key) = (KeyUse::default(), KeyId(random::uuid()));
        let [any, older] = [None, Some("2023-08-01")].map(|date| Use { key, date });
        used.note(any, Timestamp(1));
        used.note(older, Timestamp(1));
        let unwritten = used.take();
        used.note(any, Timestamp(2));
        used.put_back(unwritten);
        let all: HashMap<Use, Timestamp> = used.take().into_iter().collect();
        assert_eq!(all, HashMap::from([(any, Timestamp(2)), (older, Timestamp(1))]));
    }

    #[test]
    fn a_minted_key_is_well_formed_and_a_changed_one_is_not() {
        let key = mint(Kind::Sandbox, Access::Write);
        let text = key.expose();
        assert!(text.starts_with("usher_sandbox_w_") && is_well_formed(text));
        for i in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[i] = if changed[i] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(&String::from_utf8(changed).unwrap()), "character {i} was changed");
        }
        for text in ["", "usher", "usher_sandbox_w_", "usher_other_w_abc", "é", &format!("{text}0")] {
            assert!(!is_well_formed(text), "{text}");
        }
    }
}
