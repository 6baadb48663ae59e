//! The newest requests of this process, for whoever looks what callers meet. In memory only: without bodies, and with
//! routes in place of paths, which may hold an address or a secret.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::keys::KeyId;

/// How many are kept.
const KEPT: usize = 10_000;

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

/// The newest requests.
#[derive(Default)]
pub struct Requests(Mutex<VecDeque<Request>>);

impl Requests {
    /// Notes a request.
    pub fn note(&self, request: Request) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.pop_front();
        }
        all.push_back(request);
    }

    /// Those that are wanted, newest first.
    pub fn newest(&self, limit: usize, wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().rev().filter(|request| wanted(request)).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ten_thousand_are_kept() {
        let requests = Requests::default();
        for number in 0..10_005 {
            requests.note(Request {
                id: Uuid::nil(),
                at: Timestamp(number),
                method: "GET",
                route: "/v1/users".to_owned(),
                status: 200,
                code: None,
                key: None,
                environment: None,
                date: None,
                took: Duration::ZERO,
            });
        }
        let all = requests.newest(usize::MAX, |_| true);
        assert_eq!((all.len(), all[0].at, all[9999].at), (10_000, Timestamp(10_004), Timestamp(5)));
        assert_eq!(requests.newest(2, |request| request.at.0 % 2 == 1).len(), 2);
    }
}
