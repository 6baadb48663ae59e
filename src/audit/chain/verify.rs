//! Walks the chain and names everything that is not as Usher wrote it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::{self, LISTED, Seal};
use super::{environment_of, hash, id_of, seal_all, sound};
use crate::apps::EnvironmentId;
use crate::audit::store::COVERED;
use crate::audit::{Action, EntryId};
use crate::db::{Row, Store, Tx, Value, words};
use crate::error::Result;
use crate::secret::sha256;

words! {
    /// What is wrong.
    pub enum Fault {
        /// An entry is not as it was written.
        Changed = "changed",
        /// What changed in an entry was taken out, and the person was not erased.
        Emptied = "emptied",
        /// An entry is gone.
        Removed = "removed",
        /// An entry is there that Usher did not write.
        Inserted = "inserted",
        /// A seal is not as it was made, or not where it was.
        SealChanged = "seal changed",
        /// A seal is gone.
        SealRemoved = "seal removed",
        /// Seals that the anchor knows are gone from the end.
        CutOff = "cut off",
        /// The chain is sound in itself, and not the one that the anchor knows.
        Rewritten = "rewritten",
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// In which environment, if that can be told.
    pub environment: Option<EnvironmentId>,
    /// At which entry.
    pub entry: Option<EntryId>,
    /// At which seal.
    pub seal: Option<i64>,
}

/// A chain that was walked.
#[derive(Clone, Debug, Serialize)]
pub struct Chain {
    /// Of this environment.
    pub environment: EnvironmentId,
    /// How many seals it has.
    pub seals: i64,
    /// How many entries they list.
    pub entries: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The chains.
    pub chains: Vec<Chain>,
    /// Entries that came meanwhile and are not sealed yet.
    pub waiting: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// How far a walk is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Entries verified.
    pub done: u64,
    /// Entries in all.
    pub total: u64,
}

/// The newest seal of every chain, to be kept where whoever can write to the database cannot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// When it was made.
    pub made_at: String,
    /// One for each chain.
    pub chains: Vec<Link>,
}

/// A seal by its number and hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    /// Of this environment.
    pub environment: Uuid,
    /// Its number.
    pub number: i64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// Seals what is left, and tells the newest seals.
///
/// # Errors
/// The database refuses.
pub async fn anchor(store: &Store) -> Result<Anchor> {
    seal_all(store).await?;
    let newest = |tx: &Tx| {
        let mut chains = Vec::new();
        for environment in store::environments(tx)? {
            if let Some(seal) = store::last(tx, environment)? {
                chains.push(Link { environment: environment.0, number: seal.number, hash: hex(&seal.hash) });
            }
        }
        Ok(Anchor { made_at: tx.now().to_string(), chains })
    };
    store.scan(newest).await
}

/// Seals what is left, then compares every entry and every seal with what was written, and with `anchor`.
///
/// # Errors
/// The database does not answer.
pub async fn verify(
    store: &Store,
    anchor: Option<Anchor>,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Report> {
    seal_all(store).await?;
    store.scan(move |tx| Walk::new(tx, &progress)?.run(tx, anchor.as_ref())).await
}

struct Walk<'a> {
    report: Report,
    /// How many entries were compared.
    done: u64,
    /// Entries whose changes were taken out, with their users.
    emptied: Vec<(Finding, Option<Uuid>)>,
    /// Users who were erased.
    erased: HashSet<Uuid>,
    progress: &'a dyn Fn(Progress),
    total: u64,
}

impl<'a> Walk<'a> {
    fn new(tx: &Tx, progress: &'a dyn Fn(Progress)) -> Result<Walk<'a>> {
        let total = u64::try_from(store::count(tx)?).unwrap_or_default();
        let (report, done, emptied, erased) = Default::default();
        Ok(Walk { report, done, emptied, erased, progress, total })
    }

    fn run(mut self, tx: &Tx, anchor: Option<&Anchor>) -> Result<Report> {
        let mut environments = store::environments(tx)?;
        for link in anchor.iter().flat_map(|anchor| &anchor.chains) {
            if !environments.iter().any(|known| known.0 == link.environment) {
                environments.push(EnvironmentId(link.environment));
            }
        }
        for environment in environments {
            let known = anchor.iter().flat_map(|anchor| &anchor.chains).find(|link| link.environment == environment.0);
            self.chain(tx, environment, known)?;
        }
        // Of who was erased a moment ago, no seal lists that yet.
        self.unlisted(tx)?;
        let Walk { mut report, emptied, erased, .. } = self;
        let without = emptied.into_iter().filter(|(_, user)| user.is_none_or(|user| !erased.contains(&user)));
        report.findings.extend(without.map(|(finding, _)| finding));
        Ok(report)
    }

    fn chain(&mut self, tx: &Tx, environment: EnvironmentId, known: Option<&Link>) -> Result<()> {
        let (mut number, mut previous) = (0, Vec::new());
        let mut entries = 0;
        let mut anchored = None;
        loop {
            let seals = store::seals_after(tx, environment, number)?;
            if seals.is_empty() {
                break;
            }
            for seal in seals {
                let mut wrong = |fault, seal| {
                    self.report.findings.push(Finding {
                        fault,
                        environment: Some(environment),
                        entry: None,
                        seal: Some(seal),
                    });
                };
                if seal.number != number + 1 {
                    wrong(Fault::SealRemoved, number + 1);
                }
                let expected = hash(environment, &seal, &previous);
                // After a gap, or a seal that was changed, only this one's own proof can tell.
                let follows = expected[..] == seal.hash || seal.number != number + 1;
                let misplaced = seal.first.is_some_and(|first| !seal.list.starts_with(first.0.as_bytes()));
                let broken = misplaced || seal.list.len() % LISTED != 0;
                if !follows || broken || !tx.vault().proves(&seal.hash, &seal.proof) {
                    wrong(Fault::SealChanged, seal.number);
                }
                if known.is_some_and(|link| link.number == seal.number) {
                    anchored = Some(hex(&seal.hash));
                }
                entries += self.entries(tx, environment, &seal)?;
                number = seal.number;
                previous = seal.hash;
            }
            (self.progress)(Progress { done: self.done, total: self.total });
        }
        if let Some(link) = known {
            let fault = match anchored {
                None => Some(Fault::CutOff),
                Some(hash) if hash != link.hash => Some(Fault::Rewritten),
                Some(_) => None,
            };
            let finding =
                |fault| Finding { fault, environment: Some(environment), entry: None, seal: Some(link.number) };
            self.report.findings.extend(fault.map(finding));
        }
        self.report.chains.push(Chain { environment, seals: number, entries });
        Ok(())
    }

    /// Compares the entries of a seal with what it lists.
    fn entries(&mut self, tx: &Tx, environment: EnvironmentId, seal: &Seal) -> Result<usize> {
        let listed: Vec<(Uuid, &[u8])> = seal
            .list
            .chunks_exact(LISTED)
            .filter_map(|entry| Some((Uuid::from_slice(&entry[..16]).ok()?, &entry[16..])))
            .collect();
        let ids: Vec<Uuid> = listed.iter().map(|(id, _)| *id).collect();
        let found = store::entries(tx, &ids)?;
        for (id, expected) in &listed {
            let fault = match found.get(id) {
                None => Some(Fault::Removed),
                Some(row) => self.entry(tx, environment, row.values(), expected)?,
            };
            self.report.findings.extend(fault.map(|fault| at(fault, Some(environment), *id, Some(seal.number))));
        }
        self.done += listed.len() as u64;
        Ok(listed.len())
    }

    fn entry(&mut self, tx: &Tx, environment: EnvironmentId, row: &[Value], expected: &[u8]) -> Result<Option<Fault>> {
        if sound(tx, row).is_none_or(|digest| digest[..] != *expected) {
            return Ok(Some(Fault::Changed));
        }
        let id = id_of(row)?;
        match (&row[COVERED - 1], &row[COVERED]) {
            (Value::Bytes(hash), Value::Bytes(changes)) if sha256(changes)[..] != hash[..] => {
                return Ok(Some(Fault::Changed));
            }
            (Value::Bytes(_), Value::Null) => {
                self.emptied.push((at(Fault::Emptied, Some(environment), id.0, None), user_of(row)));
            }
            (Value::Null, Value::Bytes(_)) => return Ok(Some(Fault::Changed)),
            _ => {}
        }
        self.erased.extend(erased_in(row));
        Ok(None)
    }

    /// Finds entries that no seal lists, and ids that two do.
    fn unlisted(&mut self, tx: &Tx) -> Result<()> {
        let Walk { report, erased, .. } = self;
        store::unsealed(tx, EntryId(Uuid::nil()), |found| {
            report.findings.extend(found.twice.into_iter().map(|id| at(Fault::SealChanged, None, id, None)));
            for row in found.entries.iter().map(Row::values) {
                match sound(tx, row) {
                    Some(_) => {
                        report.waiting += 1;
                        erased.extend(erased_in(row));
                    }
                    None => report.findings.push(at(Fault::Inserted, environment_of(row).ok(), id_of(row)?.0, None)),
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// Whom an entry is about.
fn user_of(row: &[Value]) -> Option<Uuid> {
    match &row[7] {
        Value::Bytes(user) => Uuid::from_slice(user).ok(),
        _ => None,
    }
}

/// Who was erased, if that is what an entry says.
fn erased_in(row: &[Value]) -> Option<Uuid> {
    let is = |place: usize, word: &str| matches!(&row[place], Value::Text(text) if text == word);
    user_of(row).filter(|_| is(3, Action::UserErased.as_str()) && is(9, "done"))
}

fn at(fault: Fault, environment: Option<EnvironmentId>, entry: Uuid, seal: Option<i64>) -> Finding {
    Finding { fault, environment, entry: Some(EntryId(entry)), seal }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
