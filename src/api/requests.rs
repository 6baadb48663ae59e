//! The newest requests of this process, for whoever looks what callers meet, and how many were refused or failed in the last
//! hour. In memory only: with routes in place of paths, which may hold an address or a secret, and of bodies what
//! [`super::bodies`] leaves of them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::bodies::Bodies;
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::keys::KeyId;

/// How many requests are kept.
pub const KEPT: usize = 10_000;
/// Of how many the bodies are kept.
pub const WITH_BODIES: usize = 500;
/// Of how many a second they are kept: of those that went well, and of those that did not. A busy server keeps a sample.
const A_SECOND: u32 = 20;
const MINUTE: i64 = 60_000;
/// How many minutes are counted.
const MINUTES: i64 = 60;

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id.
    pub id: Uuid,
    /// When it was answered.
    pub at: Timestamp,
    /// Its method.
    pub method: &'static str,
    /// Its route, with `{parameters}`.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
    /// The code of the error, if it is one.
    pub code: Option<&'static str>,
    /// The key that it came with.
    pub key: Option<KeyId>,
    /// The environment of whoever asked, if that is known.
    pub environment: Option<EnvironmentId>,
    /// The API date that it went by.
    pub date: Option<&'static str>,
    /// How long the answer took.
    pub took: Duration,
}

/// How requests were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them.
    pub all: u64,
    /// With 4xx.
    pub refused: u64,
    /// With 5xx.
    pub failed: u64,
}

/// The newest requests.
#[derive(Default)]
pub struct Requests(Mutex<Log>);

#[derive(Default)]
struct Log {
    newest: VecDeque<Request>,
    bodies: VecDeque<(Uuid, Bodies)>,
    /// In this second, of how many that went well and that did not the bodies were taken.
    second: (i64, [u32; 2]),
    /// The answers of each minute of the last hour, by the environment of whoever asked.
    minutes: VecDeque<(i64, HashMap<Option<EnvironmentId>, Answers>)>,
}

impl Requests {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and says whether its bodies are to be kept too.
    pub fn note(&self, request: Request) -> bool {
        let mut log = self.log();
        log.count(&request);
        let wants_bodies = log.takes(&request);
        push(&mut log.newest, KEPT, request);
        wants_bodies
    }

    /// Keeps the bodies of a request.
    pub fn keep(&self, request: Uuid, bodies: Bodies) {
        push(&mut self.log().bodies, WITH_BODIES, (request, bodies));
    }

    /// Those that are wanted, newest first.
    pub fn newest(&self, limit: usize, wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        self.log().newest.iter().rev().filter(|request| wanted(request)).take(limit).cloned().collect()
    }

    /// The bodies of a request, if they were kept.
    pub fn bodies_of(&self, request: Uuid) -> Option<Bodies> {
        self.log().bodies.iter().find(|(id, _)| *id == request).map(|(_, bodies)| bodies.clone())
    }

    /// How many are kept, and since when.
    pub fn held(&self) -> (usize, Option<Timestamp>) {
        let log = self.log();
        (log.newest.len(), log.newest.front().map(|request| request.at))
    }

    /// How requests of an environment, or of callers whom nobody knows, were answered in the last hour.
    pub fn answers(&self, environment: Option<EnvironmentId>, now: Timestamp) -> Answers {
        let first = now.0.div_euclid(MINUTE) - MINUTES;
        let log = self.log();
        let minutes = log.minutes.iter().filter(|(minute, _)| *minute > first);
        minutes.filter_map(|(_, counted)| counted.get(&environment)).fold(Answers::default(), |sum, one| Answers {
            all: sum.all + one.all,
            refused: sum.refused + one.refused,
            failed: sum.failed + one.failed,
        })
    }
}

impl Log {
    fn count(&mut self, request: &Request) {
        let minute = request.at.0.div_euclid(MINUTE);
        if self.minutes.back().is_none_or(|(newest, _)| *newest < minute) {
            self.minutes.push_back((minute, HashMap::new()));
            self.minutes.retain(|(old, _)| *old > minute - MINUTES);
        }
        // What ended late counts with the newest minute.
        let Some((_, counted)) = self.minutes.back_mut() else { return };
        let answers = counted.entry(request.environment).or_default();
        answers.all += 1;
        answers.refused += u64::from((400..500).contains(&request.status));
        answers.failed += u64::from(request.status >= 500);
    }

    fn takes(&mut self, request: &Request) -> bool {
        let second = request.at.0.div_euclid(1000);
        if self.second.0 != second {
            self.second = (second, [0, 0]);
        }
        let taken = &mut self.second.1[usize::from(request.status >= 400)];
        *taken += 1;
        *taken <= A_SECOND
    }
}

fn push<T>(all: &mut VecDeque<T>, most: usize, one: T) {
    if all.len() >= most {
        all.pop_front();
    }
    all.push_back(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at: i64, status: u16) -> Request {
        Request {
            id: Uuid::nil(),
            at: Timestamp(at),
            method: "GET",
            route: "/v1/users".to_owned(),
            status,
            code: None,
            key: None,
            environment: None,
            date: None,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn the_newest_ten_thousand_are_kept() {
        let requests = Requests::default();
        for number in 0..10_005 {
            requests.note(request(number, 200));
        }
        let all = requests.newest(usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].at, all[9999].at), (10_000, Timestamp(10_004), Timestamp(5)));
        assert_eq!(requests.newest(2, |request| request.at.0 % 2 == 1).len(), 2);
        assert_eq!(requests.held(), (10_000, Some(Timestamp(5))));
    }

    #[test]
    fn answers_are_counted_for_an_hour_by_what_they_were() {
        let requests = Requests::default();
        for (minute, status) in [(0, 500), (1, 200), (1, 404), (59, 503), (60, 302)] {
            requests.note(request(minute * MINUTE, status));
        }
        let answers = |minute: i64| {
            let Answers { all, refused, failed } = requests.answers(None, Timestamp(minute * MINUTE));
            (all, refused, failed)
        };
        assert_eq!(answers(60), (4, 1, 1), "the first minute is an hour old");
        assert_eq!(answers(118), (2, 0, 1));
        assert_eq!(answers(300), (0, 0, 0));
        let other = Some(EnvironmentId::random());
        assert_eq!(requests.answers(other, Timestamp(60 * MINUTE)), Answers::default());
    }

    #[test]
    fn of_twenty_a_second_that_went_well_the_bodies_are_kept_and_of_twenty_that_did_not() {
        let requests = Requests::default();
        let kept = |at, status| (0..100).filter(|_| requests.note(request(at, status))).count();
        assert_eq!([kept(0, 200), kept(999, 204), kept(999, 409), kept(999, 500)], [20, 0, 20, 0]);
        assert_eq!(kept(1000, 200), 20);
    }

    #[test]
    fn bodies_are_found_by_their_request_until_newer_ones_take_their_place() {
        let requests = Requests::default();
        let first = Uuid::from_u128(1);
        for number in 1..=WITH_BODIES {
            requests.keep(Uuid::from_u128(number as u128), Bodies::default());
        }
        assert!(requests.bodies_of(first).is_some());
        requests.keep(Uuid::nil(), Bodies::default());
        assert!(requests.bodies_of(first).is_none() && requests.bodies_of(Uuid::nil()).is_some());
    }
}
