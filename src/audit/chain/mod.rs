//! What makes the audit trail tell when somebody changes it.
//!
//! Each entry has a proof under the data key, made when it is written. A moment later the entries that have come are
//! sealed: one row with their digests and the hash of the seal before, in each environment. So writers share no row, and
//! neither table is ever updated. An **anchor** is the hash of the newest seal, kept elsewhere: with it, a trail whose end
//! was cut off, or that was written anew by someone who has the data key too, is found out.

mod store;
mod verify;

pub use verify::{Anchor, Chain, Fault, Finding, Link, Progress, Report, anchor, verify};

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;
use std::time::Duration;

use uuid::Uuid;

use super::EntryId;
use super::store::COVERED;
use crate::apps::EnvironmentId;
use crate::db::{Row, Store, Tx, Value, id_type, params};
use crate::error::{Error, Result};
use crate::secret::sha256;
use store::Seal;

id_type!(
    /// A seal.
    SealId
);

/// How long after its time an entry may become visible, by another server's clock. What comes even later is sealed by
/// [`SLOW`].
const SLACK: Duration = Duration::from_mins(1);
/// For how long after the newest entry a pass still looks back: [`SLACK`], by a clock of this server that is as far ahead.
const SETTLED: Duration = Duration::from_mins(2);
/// How far back a pass looks once in a while.
const SLOW: Duration = Duration::from_hours(2);
/// How many entries one seal has at the most, and how many a pass seals: an import leaves a million at once, which are not to be
/// held in memory together.
const LARGEST: usize = 1000;
const AT_ONCE: usize = 50 * LARGEST;

/// How far back to look for what is not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To just before the newest seal, unless nothing has come for so long that nothing is late: for every second.
    Usual,
    /// To just before the newest seal: after a pass that has left something.
    Rest,
    /// Some hours further: for once in a while.
    Far,
    /// All the way.
    All,
}

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sealed {
    /// Entries that were looked at, sealed or not.
    pub looked_at: usize,
    /// Entries that are sealed now.
    pub entries: usize,
    /// Entries that were not, for they have no valid proof: somebody else than Usher wrote or changed them.
    pub unsound: usize,
    /// Whether there may be more, for the next pass.
    pub more: bool,
}

/// An entry's id and digest.
type Digested = (EntryId, [u8; 32]);

/// What is to be sealed.
#[derive(Default)]
struct Loose {
    /// In each environment, after the seal of that number, these entries.
    chains: BTreeMap<Uuid, (i64, Vec<Digested>)>,
    count: usize,
    looked_at: usize,
    unsound: usize,
}

/// One pass: seals what is not sealed yet, the oldest first, up to so much. If another server is faster, its seals stand, and
/// what is left is for the next pass.
///
/// # Errors
/// The database refuses.
pub async fn seal(store: &Store, reach: Reach) -> Result<Sealed> {
    let loose = store.scan(move |tx| find_loose(tx, reach)).await?;
    let Loose { looked_at, unsound, count, .. } = loose;
    let mut sealed = Sealed { looked_at, entries: 0, unsound, more: count == AT_ONCE };
    for (environment, (mut number, entries)) in loose.chains {
        for part in entries.chunks(LARGEST) {
            let (count, part) = (part.len(), part.to_vec());
            if !store.write(move |tx| append(tx, EnvironmentId(environment), number, &part)).await? {
                break;
            }
            number += 1;
            sealed.entries += count;
        }
    }
    Ok(sealed)
}

/// Seals all that is not sealed yet.
///
/// # Errors
/// The database refuses.
pub async fn seal_all(store: &Store) -> Result<()> {
    let mut reach = Reach::All;
    // A pass goes on where the one before has ended.
    while seal(store, reach).await?.more {
        reach = Reach::Rest;
    }
    Ok(())
}

fn find_loose(tx: &Tx, reach: Reach) -> Result<Loose> {
    if reach == Reach::Usual && is_settled(tx)? {
        return Ok(Loose::default());
    }
    let floor = match (reach, store::newest_sealed(tx)?) {
        (Reach::All, _) | (_, None) => EntryId(Uuid::nil()),
        (Reach::Usual | Reach::Rest, Some(entry)) => EntryId::first(entry.time().min(tx.now()) - SLACK),
        (Reach::Far, Some(entry)) => EntryId::first(entry.time().min(tx.now()) - SLOW),
    };
    let mut loose = Loose::default();
    store::unsealed(tx, floor, |found| {
        loose.looked_at += found.looked_at;
        for values in found.entries.iter().map(Row::values) {
            let id = id_of(values)?;
            let Some(digest) = sound(tx, values) else {
                loose.unsound += 1;
                continue;
            };
            let environment = environment_of(values)?;
            let chain = match loose.chains.entry(environment.0) {
                Entry::Occupied(chain) => chain.into_mut(),
                Entry::Vacant(place) => {
                    let number = store::last(tx, environment)?.map_or(0, |seal| seal.number);
                    place.insert((number, Vec::new()))
                }
            };
            chain.1.push((id, digest));
            loose.count += 1;
            if loose.count == AT_ONCE {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(loose)
}

/// Whether the newest entry is sealed, and whatever is older and was late has been met by a pass since. To look once more would
/// be to read again all of its last minute, which an import may have filled.
fn is_settled(tx: &Tx) -> Result<bool> {
    let newest = store::newest_if_sealed(tx)?;
    Ok(newest.is_some_and(|newest| newest.time() < tx.now() - SETTLED))
}

/// The digest of an entry, if Usher wrote it: nobody else can make its proof.
fn sound(tx: &Tx, values: &[Value]) -> Option<[u8; 32]> {
    let digest = digest(&canonical(&values[..COVERED]));
    matches!(&values[COVERED + 1], Value::Bytes(proof) if tx.vault().proves(&digest, proof)).then_some(digest)
}

/// Adds the seal that follows the one of that number; `false` if another server was faster.
fn append(tx: &Tx, environment: EnvironmentId, after: i64, entries: &[Digested]) -> Result<bool> {
    let (number, previous) = store::last(tx, environment)?.map_or((0, Vec::new()), |seal| (seal.number, seal.hash));
    if number != after {
        return Ok(false);
    }
    let list: Vec<u8> = entries.iter().flat_map(|(id, digest)| [&id.0.as_bytes()[..], digest].concat()).collect();
    // They come in the order of their ids.
    let (Some((oldest, _)), Some((newest, _))) = (entries.first(), entries.last()) else {
        return Ok(true);
    };
    let mut seal = Seal {
        id: SealId::ordered(tx.now()),
        number: number + 1,
        sealed_at: tx.now(),
        last: *newest,
        first: Some(*oldest),
        list,
        hash: Vec::new(),
        proof: Vec::new(),
    };
    seal.hash = hash(environment, &seal, &previous).to_vec();
    seal.proof = tx.vault().prove(&seal.hash);
    store::insert(tx, environment, &seal)?;
    Ok(true)
}

/// The hash of a seal after the one with that hash.
fn hash(environment: EnvironmentId, seal: &Seal, previous: &[u8]) -> [u8; 32] {
    let Seal { id, number, sealed_at, last, list, .. } = seal;
    sha256(&canonical(params![*id, environment, *number, *sealed_at, *last, &list[..], previous]))
}

/// The digest of an entry, from what its proof covers.
pub(super) fn digest(canonical: &[u8]) -> [u8; 32] {
    sha256(&[b"usher audit entry 1\n", canonical].concat())
}

/// Values as bytes, so that no two rows have the same.
pub(super) fn canonical(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for value in values {
        let (kind, body): (u8, &[u8]) = match value {
            Value::Null => (b'n', &[]),
            Value::Integer(i) => (b'i', &i.to_be_bytes()),
            Value::Text(text) => (b't', text.as_bytes()),
            Value::Bytes(bytes) => (b'b', bytes),
        };
        bytes.push(kind);
        bytes.extend((body.len() as u64).to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

fn id_of(values: &[Value]) -> Result<EntryId> {
    uuid_at(values, 0).map(EntryId)
}

fn environment_of(values: &[Value]) -> Result<EnvironmentId> {
    uuid_at(values, 1).map(EnvironmentId)
}

fn uuid_at(values: &[Value], place: usize) -> Result<Uuid> {
    match values.get(place) {
        Some(Value::Bytes(bytes)) => Uuid::from_slice(bytes).map_err(|_| Error::Integrity),
        _ => Err(Error::Integrity),
    }
}
