//! What a subscription does by itself when its day has come: it resumes after a pause, or ends. Nothing is changed then, for
//! its state follows from its days; but others are told.

use std::time::Duration;

use jiff::civil::Date;

use super::{Course, State, Subscription, store};
use crate::audit::{self, Action};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::users::{self, Person, RESTORABLE, User};

/// How many turns one transaction tells of at the most, so that it holds nobody up.
const AT_ONCE: i64 = 100;
/// How long somebody whose record cannot be read is left alone.
const DAMAGED: Duration = Duration::from_hours(24);

impl Course {
    /// What happens next by itself, and on which day. What has ended before today has yet to be told.
    fn next_turn(&self, today: Date) -> Option<(Date, Action)> {
        let ends = self.last_day.and_then(|day| day.tomorrow().ok()).map(|day| day.max(today));
        let resumes = self.paused_on.and(self.paused_until).filter(|day| *day > today);
        let turns = [(resumes, Action::SubscriptionResumed), (ends, Action::SubscriptionEnded)];
        turns.into_iter().filter_map(|(day, action)| Some((day?, action))).min_by_key(|(day, _)| *day)
    }
}

/// Notes when a subscription that was changed turns by itself, in the change's transaction.
///
/// # Errors
/// The database refuses.
pub fn watch(tx: &Tx, action: Action, user: &User, before: &Person) -> Result<()> {
    if action == Action::UserRestored {
        store::make_due(tx, user.id)?;
    }
    let is_over = || Subscription::of(user).state(tx.now().day()) == State::Cancelled;
    match &user.person.health.subscription {
        course if *course == before.health.subscription => Ok(()),
        // What was over before somebody came is no news.
        Some(_) if action == Action::UserCreated && is_over() => Ok(()),
        Some(course) => expect(tx, user, course),
        None => store::forget_turn(tx, user.id),
    }
}

fn expect(tx: &Tx, user: &User, course: &Course) -> Result<()> {
    store::forget_turn(tx, user.id)?;
    let Some((day, action)) = course.next_turn(tx.now().day()) else { return Ok(()) };
    store::add_turn(tx, user.id, action, Timestamp::of(day))
}

/// Whether a day has come that somebody is to be told of. Asked first, so that nothing is written for nothing.
///
/// # Errors
/// The database does not answer.
pub fn any_turns(tx: &Tx) -> Result<bool> {
    Ok(!store::due_turns(tx, 1)?.is_empty())
}

/// Tells of some subscriptions whose day has come, and says whether there may be more. Of several servers that try at once,
/// one tells of each.
///
/// # Errors
/// The database refuses.
pub fn tell_turns(tx: &Tx) -> Result<bool> {
    let due = store::due_turns(tx, AT_ONCE)?;
    for (id, action, due_at) in &due {
        // Before the turn, as a change does, so that the two do not wait for each other.
        let user = match users::lock(tx, *id) {
            Err(Error::Integrity) => {
                tracing::error!(user = %id, "a user's record is damaged: nobody is told of their subscription");
                store::put_off(tx, *id, tx.now() + DAMAGED)?;
                continue;
            }
            found => found?,
        };
        if user.as_ref().is_some_and(|user| user.deleted_at.is_some()) {
            // Until they are restored, or erased, which they are by then.
            store::put_off(tx, *id, tx.now() + RESTORABLE)?;
            continue;
        }
        if !store::take_turn(tx, *id, *due_at)? {
            continue;
        }
        let Some(user) = user else { continue };
        tell(tx, &user, *action)?;
    }
    Ok(!due.is_empty())
}

/// Tells what has come of a user's subscription, before a change takes it away. The user is locked.
///
/// # Errors
/// The database refuses.
pub(super) fn tell_due(tx: &Tx, user: &User) -> Result<()> {
    // A pause that is over can have been followed by the end.
    while let Some(action) = store::due_turn(tx, user.id)? {
        store::forget_turn(tx, user.id)?;
        tell(tx, user, action)?;
    }
    Ok(())
}

/// Tells of a turn that was taken, if it has come to that, and notes the next one.
fn tell(tx: &Tx, user: &User, action: Action) -> Result<()> {
    let subscription = Subscription::of(user);
    let is_so = match subscription.state(tx.now().day()) {
        State::Active => action == Action::SubscriptionResumed,
        State::Cancelled => action == Action::SubscriptionEnded,
        State::Scheduled | State::Paused => false,
    };
    if is_so {
        audit::note(tx, Origin::of(Actor::Usher), action, user, &user.person)?;
    }
    if !is_so || action != Action::SubscriptionEnded {
        expect(tx, user, &subscription.course)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_before_the_subscription_does_and_what_is_over_has_yet_to_be_told() {
        let day = |text: &str| -> Date { text.parse().unwrap() };
        let course = |paused: Option<(&str, &str)>, last: Option<&str>| Course {
            paused_on: paused.map(|(on, _)| day(on)),
            paused_until: paused.map(|(_, until)| day(until)),
            last_day: last.map(day),
            reason: None,
        };
        let next = |course: &Course, today| course.next_turn(day(today)).map(|(day, action)| (day.to_string(), action));
        let resumes = |day: &str| Some((day.to_owned(), Action::SubscriptionResumed));
        let ends = |day: &str| Some((day.to_owned(), Action::SubscriptionEnded));
        let both = course(Some(("2026-02-01", "2026-03-01")), Some("2026-03-31"));
        assert_eq!(next(&both, "2026-02-28"), resumes("2026-03-01"));
        assert_eq!(next(&both, "2026-03-01"), ends("2026-04-01"));
        assert_eq!(next(&both, "2026-06-01"), ends("2026-06-01"));
        assert_eq!(next(&course(None, None), "2026-02-01"), None);
        assert_eq!(next(&course(Some(("2026-02-01", "2026-02-01")), None), "2026-02-01"), None, "it never rests");
    }
}
