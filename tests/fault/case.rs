//! A case: a named run on one engine, with a seed, counts and a verdict.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crate::cluster;

pub struct Case {
    name: &'static str,
    engine: &'static str,
    seed: u64,
    dice: u64,
    started: Instant,
    counts: Vec<(&'static str, u64)>,
    _turn: Turn,
}

/// Cases that want answers within milliseconds, and so the machine for themselves.
const ALONE: &[&str] = &["a11_", "a12_"];

#[allow(dead_code, reason = "held for what dropping it does")]
enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    BesideOthers(RwLockReadGuard<'static, ()>),
}

impl Turn {
    fn of(name: &str) -> Turn {
        static MACHINE: RwLock<()> = RwLock::new(());
        if ALONE.iter().any(|id| name.starts_with(id)) {
            return Turn::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner));
        }
        Turn::BesideOthers(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs `body`, which panics when something does not hold.
pub fn run(name: &'static str, engine: &'static str, body: fn(&mut Case)) {
    let turn = Turn::of(name);
    cluster::choose(engine == "postgres");
    if engine == "postgres" && cluster::try_shared().is_none() {
        return;
    }
    let given = std::env::var("USHER_FAULT_SEED").ok().map(|seed| seed.parse().expect("USHER_FAULT_SEED is a number"));
    let seed = given.unwrap_or_else(|| u64::from_le_bytes(usher::random::bytes()) >> 32);
    let mut case = Case { name, engine, seed, dice: seed, started: Instant::now(), counts: Vec::new(), _turn: turn };
    body(&mut case);
}

impl Case {
    /// How much to do: in the short form, which is a part of `cargo test`, and in the long one (`USHER_FAULTS=long`).
    #[allow(clippy::unused_self, reason = "it reads as a property of the case")]
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if std::env::var("USHER_FAULTS").is_ok_and(|form| form == "long") { long } else { short }
    }

    /// A number from `range`, by the seed (splitmix64).
    pub fn dice(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (z ^ (z >> 31)) % (range.end - range.start)
    }

    /// Adds to what the result says was done.
    pub fn note(&mut self, what: &'static str, number: usize) {
        let number = u64::try_from(number).unwrap();
        match self.counts.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count += number,
            None => self.counts.push((what, number)),
        }
    }
}

/// Tells the result, also of a case that has failed, and appends it to the file that `USHER_FAULT_RESULTS` names.
impl Drop for Case {
    fn drop(&mut self) {
        let (id, what) = self.name.split_once('_').unwrap();
        let mut counts = String::new();
        for (what, count) in &self.counts {
            let _ = write!(counts, "{}{count} {what}", if counts.is_empty() { "" } else { ", " });
        }
        let verdict = if std::thread::panicking() { "FAILED" } else { "held" };
        let seconds = self.started.elapsed().as_secs_f64();
        let (id, what) = (id.to_uppercase(), what.replace('_', " "));
        let line = format!("{id}\t{what}\t{}\t{}\t{counts}\t{seconds:.1}\t{verdict}\n", self.engine, self.seed);
        // Not `println!`: the test runner would keep the seed to itself.
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(file) = std::env::var_os("USHER_FAULT_RESULTS") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
            let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }
}
