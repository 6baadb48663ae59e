//! The clients' book: what each was going to do, written down before, and what it was told had been done. On disk, so
//! that it would survive what the server is put through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// One client's pages.
pub struct Ledger(File);

impl Ledger {
    pub fn of(shelf: &Path, client: usize) -> Ledger {
        Ledger(OpenOptions::new().append(true).create(true).open(shelf.join(format!("client-{client}"))).unwrap())
    }

    pub fn intend(&mut self, id: u64) {
        self.write(&format!("{id}\n"));
    }

    pub fn acknowledge(&mut self, id: u64, identifier: &str) {
        self.write(&format!("{id} {identifier}\n"));
    }

    fn write(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).unwrap();
        self.0.sync_data().unwrap();
    }
}

/// Every client's pages.
pub struct Book {
    pub intended: BTreeSet<u64>,
    /// With the id of the user that was acknowledged.
    pub acknowledged: BTreeMap<u64, String>,
}

impl Book {
    pub fn read(shelf: &Path) -> Book {
        let mut book = Book { intended: BTreeSet::new(), acknowledged: BTreeMap::new() };
        for page in std::fs::read_dir(shelf).unwrap() {
            for line in std::fs::read_to_string(page.unwrap().path()).unwrap().lines() {
                match line.split_once(' ') {
                    None => _ = book.intended.insert(line.parse().unwrap()),
                    Some((id, user)) => _ = book.acknowledged.insert(id.parse().unwrap(), user.to_owned()),
                }
            }
        }
        book
    }

    pub fn in_doubt(&self) -> impl Iterator<Item = u64> {
        self.intended.iter().copied().filter(|id| !self.acknowledged.contains_key(id))
    }

    /// Acknowledged ⊆ stored ⊆ intended.
    #[track_caller]
    pub fn assert_agrees_with(&self, stored: &BTreeSet<u64>) {
        let lost: Vec<_> = self.acknowledged.keys().filter(|id| !stored.contains(id)).collect();
        assert!(lost.is_empty(), "{} were acknowledged and are gone: {lost:?}", lost.len());
        let strange: Vec<_> = stored.difference(&self.intended).collect();
        assert!(strange.is_empty(), "nobody meant to create {strange:?}");
    }
}
