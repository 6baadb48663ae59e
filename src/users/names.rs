//! What the people of an environment are called, in memory, so that a search for one among millions reads few records.
//!
//! An index of names in the database would cost every create a page. So they are gathered from the records while somebody
//! searches, kept up as long as they do, and forgotten afterwards. They only tell where to look: who is found, and everything
//! that is not gathered yet, is read from the records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::{Profile, store};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::Result;
use crate::place::Place;

/// How many people a block has, all of whom are read if one of them may be the one.
const BLOCK: usize = 512;
/// How many records are read at once.
const AT_ONCE: i64 = 4096;
/// How old a change must be to be gathered: what was committed later but bears an earlier time is there by then.
const SETTLED: Duration = Duration::from_secs(10);
/// How long names are kept after the last search.
const IDLE: Duration = Duration::from_hours(1);
/// How long they are kept at the most, so that what people were called before they changed or were erased goes too.
const KEPT: Duration = Duration::from_hours(24);
/// How many blocks one search is told of.
const MOST: usize = 64;

/// The names of every environment where somebody searches.
#[derive(Default)]
pub struct Names(Mutex<HashMap<EnvironmentId, Kept>>);

struct Kept {
    since: Timestamp,
    wanted_at: Timestamp,
    names: Arc<RwLock<Gathered>>,
}

/// Those of one environment.
struct Gathered {
    /// The oldest users first; each begins after the newest of the one before.
    blocks: Vec<Block>,
    /// Users were read up to here, by the time they were made.
    made: Place,
    /// And up to here by the time of their change.
    changed: Place,
}

struct Block {
    newest: Place,
    people: usize,
    /// A line each.
    names: String,
}

/// A user as far as their name goes.
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) changed_at: Timestamp,
    pub(super) name: String,
}

/// Where to look for a name.
pub(super) struct Look {
    /// Who was made after this was not gathered yet.
    pub(super) gathered: Place,
    /// Between these two, neither of them included, somebody is called so; the newest first.
    pub(super) spans: Vec<(Place, Place)>,
    /// There are more before the last one.
    pub(super) more: bool,
}

impl Names {
    fn all(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, environment: EnvironmentId) -> Option<Arc<RwLock<Gathered>>> {
        self.all().get(&environment).map(|kept| Arc::clone(&kept.names))
    }

    /// Somebody is about to search there.
    pub fn want(&self, environment: EnvironmentId, now: Timestamp) {
        let new = || Kept { since: now, wanted_at: now, names: Arc::new(RwLock::new(Gathered::begin(now))) };
        self.all().entry(environment).or_insert_with(new).wanted_at = now;
    }

    /// Where names are to be gathered. Forgets those that nobody wants, or that are old.
    pub fn wanted(&self, now: Timestamp) -> Vec<EnvironmentId> {
        let mut all = self.all();
        all.retain(|_, kept| now < kept.wanted_at + IDLE && now < kept.since + KEPT);
        all.keys().copied().collect()
    }

    /// Gathers some more names, and says whether there may be more.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn gather(&self, tx: &Tx, environment: EnvironmentId) -> Result<bool> {
        let Some(names) = self.of(environment) else { return Ok(false) };
        let (made, changed) = {
            let names = names.read().unwrap_or_else(PoisonError::into_inner);
            (names.made, names.changed)
        };
        let until = tx.now() - SETTLED;
        let new = store::names_made(tx, environment, made, until, AT_ONCE)?;
        let again = store::names_changed(tx, environment, changed, until, AT_ONCE)?;
        let mut names = names.write().unwrap_or_else(PoisonError::into_inner);
        if (names.made, names.changed) == (made, changed) {
            for person in &new {
                names.add(person);
            }
            for person in &again {
                names.change(person);
            }
        }
        let is_full = |some: &[Named]| i64::try_from(some.len()).is_ok_and(|count| count == AT_ONCE);
        Ok(is_full(&new) || is_full(&again))
    }

    /// Where those are to be found, before `place`, whose name has all these words.
    pub(super) fn look(&self, environment: EnvironmentId, words: &[String], place: Place) -> Look {
        let Some(names) = self.of(environment) else {
            return Look { gathered: Place::FIRST, spans: Vec::new(), more: false };
        };
        names.read().unwrap_or_else(PoisonError::into_inner).look(words, place)
    }
}

impl Gathered {
    fn begin(now: Timestamp) -> Gathered {
        Gathered { blocks: Vec::new(), made: Place::FIRST, changed: Place { at: now - SETTLED, ..Place::FIRST } }
    }

    fn add(&mut self, person: &Named) {
        self.made = person.place;
        let is_full = self.blocks.last().is_none_or(|block| block.people >= BLOCK);
        if is_full {
            self.blocks.push(Block { newest: person.place, people: 0, names: String::new() });
        }
        if let Some(block) = self.blocks.last_mut() {
            block.newest = person.place;
            block.people += 1;
            block.add(&person.name);
        }
    }

    /// Adds what somebody is called now to what they were called.
    fn change(&mut self, person: &Named) {
        self.changed = Place { at: person.changed_at, id: person.place.id };
        let at = self.blocks.partition_point(|block| block.newest < person.place);
        if let Some(block) = self.blocks.get_mut(at)
            && !block.names.lines().any(|line| line == person.name)
        {
            block.add(&person.name);
        }
    }

    fn look(&self, words: &[String], place: Place) -> Look {
        let mut look = Look { gathered: self.made, spans: Vec::new(), more: false };
        for (at, block) in self.blocks.iter().enumerate().rev() {
            let after = at.checked_sub(1).map_or(Place::FIRST, |before| self.blocks[before].newest);
            if after.next() < place && block.has(words) {
                if look.spans.len() == MOST {
                    look.more = true;
                    break;
                }
                look.spans.push((after, block.newest.next().min(place)));
            }
        }
        look
    }
}

impl Block {
    fn add(&mut self, name: &str) {
        self.names.push_str(name);
        self.names.push('\n');
    }

    fn has(&self, words: &[String]) -> bool {
        // Most blocks have nobody, which is seen without looking at each name.
        words.iter().all(|word| self.names.contains(word.as_str())) && self.names.lines().any(|name| fits(name, words))
    }
}

/// Every name of a person in one line, as names are compared.
pub(super) fn called(profile: &Profile) -> String {
    let parts = [&profile.given_name, &profile.family_name, &profile.name, &profile.middle_name, &profile.nickname];
    let names: Vec<&str> = parts.into_iter().flatten().map(|line| line.0.as_str()).collect();
    names.join(" ").to_lowercase()
}

const BETWEEN: [char; 2] = [' ', '-'];

/// The words of a name that somebody looks for.
pub(super) fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split(BETWEEN).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether every word begins a word of the name.
pub(super) fn fits(name: &str, words: &[String]) -> bool {
    words.iter().all(|word| name.split(BETWEEN).any(|part| part.starts_with(word.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u128) -> Place {
        Place { at: Timestamp(i64::try_from(n).unwrap_or_default()), id: uuid::Uuid::from_u128(n) }
    }

    fn named(n: u128, name: &str) -> Named {
        Named { place: place(n), changed_at: Timestamp(0), name: name.to_owned() }
    }

    #[test]
    fn a_look_names_the_blocks_that_may_have_somebody_the_newest_first() {
        let mut names = Gathered::begin(Timestamp(0));
        for n in 1..=1500 {
            let name = if n % 700 == 0 { "zoë núñez-łapiński".to_owned() } else { format!("given{n} family") };
            names.add(&named(n, &name));
        }
        let look = |text: &str, before: u128| names.look(&words(text), place(before)).spans;
        assert_eq!(look("zo łap", 2000).len(), 2);
        assert!(look("zo łap", 2000)[0].0 > look("zo łap", 2000)[1].0);
        assert_eq!(look("zo łap", 700), [(place(512), place(700))], "only what is before the place");
        assert_eq!(look("given1", 2000).len(), 3);
        assert!(look("apiński", 2000).is_empty(), "words begin so");
        assert!(look("zo given", 2000).is_empty(), "one person is called all of it");
        assert_eq!(names.look(&words("zo"), place(2000)).gathered, place(1500));
    }

    #[test]
    fn a_changed_name_is_found_in_its_block_and_said_once() {
        let mut names = Gathered::begin(Timestamp(0));
        for n in 1..=1000 {
            names.add(&named(n, "jane doe"));
        }
        for _ in 0..3 {
            names.change(&named(5, "mary sue"));
        }
        let look = names.look(&words("mary"), place(2000));
        assert_eq!(look.spans, [(Place::FIRST, place(512).next())]);
        assert_eq!(names.blocks[0].names.lines().count(), 513);
        names.change(&named(1001, "li wei"));
        assert!(names.look(&words("li"), place(2000)).spans.is_empty(), "who is new comes with the new");
    }
}
