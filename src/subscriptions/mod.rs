//! Subscriptions: which plan a person is on, from when to when, and when it rests.
//!
//! A subscription is part of its user's record, so one lock, one version, one sealed value and one entry of the audit trail
//! serve both. What state it is in follows from its days and today's, in UTC: a pause that is over and a cancellation
//! that has come need nobody to write them down; but somebody has to tell of them (`turns.rs`).

mod store;
mod turns;

pub use turns::{any_turns, tell_turns, watch};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::Action;
use crate::caller::Caller;
use crate::db::{Tx, words};
use crate::error::{Error, Result};
use crate::field::{Context, Day, Fault, Field, choice};
use crate::users::health::{Note, PaymentPlan};
use crate::users::{self, Email, Health, IfMatch, Person, User};

words! {
    /// How a subscription stands on a day.
    pub enum State {
        /// It begins later.
        Scheduled = "scheduled",
        /// It runs.
        Active = "active",
        /// It rests.
        Paused = "paused",
        /// It is over.
        Cancelled = "cancelled",
    }
}

choice! {
    /// How a partner wants it to stand.
    pub enum Wanted {
        /// Running: resumed, a cancellation that is to come taken back, or with a new start begun anew.
        Active = "active",
        /// Over, at the end of today.
        Cancelled = "cancelled",
        /// Resting, from today.
        Paused = "paused",
    }
}

/// What is stored besides the plan and its start: when it rests and when it ends.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// The first day of the last pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_on: Option<Date>,
    /// The day on which it runs again; without one, when somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_until: Option<Date>,
    /// The last day of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_day: Option<Date>,
    /// Why it ends, in the partner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Note>,
}

crate::secret::redacted!(Course);

/// What a partner asks for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Whose subscription.
    pub email: Option<Email>,
    /// Another plan.
    pub payment_plan: Option<PaymentPlan>,
    /// Another start.
    pub plan_start_date: Option<Day>,
    /// How it is to stand.
    pub status: Option<Wanted>,
    /// When a pause ends.
    pub pause_until: Option<Day>,
    /// The last day of service.
    pub last_day: Option<Day>,
    /// Why it ends.
    pub reason: Option<Note>,
}

/// A person's subscription.
struct Subscription {
    plan: Option<PaymentPlan>,
    /// Who was enrolled without a plan began when they were enrolled.
    start: Date,
    course: Course,
}

impl Subscription {
    fn of(user: &User) -> Subscription {
        let Health { payment_plan, plan_start_date, subscription, .. } = &user.person.health;
        Subscription {
            plan: *payment_plan,
            start: plan_start_date.map_or_else(|| user.created_at.day(), |day| day.0),
            course: subscription.clone().unwrap_or_default(),
        }
    }

    fn state(&self, today: Date) -> State {
        let Course { paused_on, paused_until, last_day, .. } = &self.course;
        if last_day.is_some_and(|day| day < today) {
            State::Cancelled
        } else if self.start > today {
            State::Scheduled
        } else if paused_on.is_some_and(|day| day <= today) && paused_until.is_none_or(|day| today < day) {
            State::Paused
        } else {
            State::Active
        }
    }

    /// Lets it rest. A pause until a day that has come is none, and ends the one that there is.
    fn pause(&mut self, today: Date, until: Option<Day>) -> Result<()> {
        let until = until.map(|day| day.0.max(today));
        match self.state(today) {
            State::Cancelled => Err(over()),
            State::Scheduled => {
                Err(refused("subscription_not_begun", "The subscription has not begun; change planStartDate instead"))
            }
            State::Active if until == Some(today) => Ok(()),
            State::Active => {
                self.course.paused_on = Some(today);
                self.course.paused_until = until;
                Ok(())
            }
            State::Paused => {
                self.course.paused_until = until;
                Ok(())
            }
        }
    }

    fn cancel(&mut self, today: Date, last_day: Date, reason: Option<Note>) -> Result<()> {
        if self.state(today) == State::Cancelled {
            return Err(refused("subscription_cancelled", "The subscription was cancelled before, and is over"));
        }
        self.course.last_day = Some(last_day);
        self.course.reason = reason.or(self.course.reason.take());
        Ok(())
    }

    /// Moves the start. A pause of the time before goes with it.
    fn move_start(&mut self, start: Date) {
        self.start = start;
        if self.course.paused_on.is_some_and(|day| day < start) {
            (self.course.paused_on, self.course.paused_until) = (None, None);
        }
    }

    /// Makes it run. What is over begins anew, if a start is named.
    fn resume(&mut self, today: Date, new_start: bool) -> Result<()> {
        match self.state(today) {
            State::Cancelled if !new_start => Err(over()),
            State::Scheduled if !new_start && self.course.last_day.is_none() => {
                Err(refused("subscription_not_begun", "The subscription has not begun; change planStartDate instead"))
            }
            _ => {
                self.course = Course::default();
                Ok(())
            }
        }
    }
}

fn refused(code: &'static str, message: &'static str) -> Error {
    Error::NotNow { code, message }
}

fn over() -> Error {
    refused(
        "subscription_cancelled",
        "The subscription was cancelled and is over; subscriptionStatus active with a planStartDate begins it anew",
    )
}

/// Changes the plan, its start, or how the subscription stands.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::Stale`], what contradicts itself, and why it cannot stand so now.
pub fn update(tx: &Tx, caller: &Caller, ask: &Ask, if_match: &IfMatch) -> Result<User> {
    if ask.pause_until.is_some() && matches!(ask.status, Some(Wanted::Active | Wanted::Cancelled)) {
        let fault = Fault::rule("enum", "goes with subscriptionStatus paused only, or without one");
        return Err(Error::Invalid(vec![fault.at("pauseUntil")]));
    }
    let action = match (ask.status, ask.pause_until) {
        (Some(Wanted::Cancelled), _) => Action::SubscriptionCancelled,
        (Some(Wanted::Active), _) => Action::SubscriptionResumed,
        (Some(Wanted::Paused), _) | (None, Some(_)) => Action::SubscriptionPaused,
        (None, None) => Action::SubscriptionUpdated,
    };
    change(tx, caller, ask, if_match, action, |subscription, today| {
        if let Some(start) = ask.plan_start_date {
            subscription.move_start(start.0);
        }
        match action {
            Action::SubscriptionCancelled => subscription.cancel(today, today, None)?,
            Action::SubscriptionResumed => subscription.resume(today, ask.plan_start_date.is_some())?,
            Action::SubscriptionPaused => subscription.pause(today, ask.pause_until)?,
            _ if ask.payment_plan.is_none() && ask.plan_start_date.is_none() => {}
            _ if subscription.state(today) == State::Cancelled => return Err(over()),
            _ => {}
        }
        if ask.plan_start_date.is_some()
            && action != Action::SubscriptionCancelled
            && subscription.course.last_day.is_some_and(|day| day < subscription.start)
        {
            return Err(refused("starts_after_its_end", "planStartDate is after the last day of service"));
        }
        subscription.plan = ask.payment_plan.or(subscription.plan);
        Ok(())
    })
}

/// Lets the subscription rest from today, until a day or until somebody says so.
///
/// # Errors
/// As [`update`].
pub fn pause(tx: &Tx, caller: &Caller, ask: &Ask, if_match: &IfMatch) -> Result<User> {
    change(tx, caller, ask, if_match, Action::SubscriptionPaused, |subscription, today| {
        subscription.pause(today, ask.pause_until)
    })
}

/// Ends the subscription after its last day of service. Before that day is over, another one can be named.
///
/// # Errors
/// As [`update`].
pub fn cancel(tx: &Tx, caller: &Caller, ask: &Ask, if_match: &IfMatch) -> Result<User> {
    let last_day = ask.last_day.ok_or_else(|| Error::internal("a cancellation needs a day"))?;
    change(tx, caller, ask, if_match, Action::SubscriptionCancelled, |subscription, today| {
        subscription.cancel(today, last_day.0, ask.reason.clone())
    })
}

fn change(
    tx: &Tx,
    caller: &Caller,
    ask: &Ask,
    if_match: &IfMatch,
    action: Action,
    turn: impl Fn(&mut Subscription, Date) -> Result<()>,
) -> Result<User> {
    let email = ask.email.as_ref().ok_or_else(|| Error::internal("a subscription needs the e-mail address"))?;
    users::change_by_email(tx, caller, email, if_match, |user| {
        turns::tell_due(tx, user)?;
        let (mut subscription, today) = (Subscription::of(user), tx.now().day());
        let before = (subscription.plan, subscription.start, subscription.course.clone());
        let stood = subscription.state(today);
        turn(&mut subscription, today)?;
        let action = match (action, stood, subscription.state(today)) {
            // A pause until a day that has come ends it, and so does a start that moves beyond its first day.
            (Action::SubscriptionPaused | Action::SubscriptionUpdated, State::Paused, State::Active) => {
                Action::SubscriptionResumed
            }
            (Action::SubscriptionPaused, _, State::Active) => Action::SubscriptionUpdated,
            (asked, ..) => asked,
        };
        let Subscription { plan, start, course } = subscription;
        let health = Health {
            payment_plan: plan.filter(|_| plan != before.0),
            plan_start_date: (start != before.1).then_some(Day(start)),
            subscription: (course != before.2).then_some(course),
            ..Health::default()
        };
        Ok((Person { health, ..Person::default() }, action))
    })
}

/// A person's subscription on a day, for the operator.
pub fn show(user: &User, today: Date) -> Value {
    let mut shown = standing(user, today);
    shown["cancellationReason"] = json!(Subscription::of(user).course.reason);
    shown
}

/// The plan, the days and how the subscription stands: what those may see who may not see the health record. Why it ends is
/// free text about a person.
pub fn standing(user: &User, today: Date) -> Value {
    let subscription = Subscription::of(user);
    let Course { paused_on, paused_until, last_day, .. } = &subscription.course;
    json!({
        "status": subscription.state(today),
        "paymentPlan": subscription.plan,
        "planStartDate": subscription.start,
        "pausedOn": paused_on,
        "pauseUntil": paused_until,
        "cancellationDate": last_day,
    })
}

/// Whether somebody said why the subscription ends.
pub fn has_reason(user: &User) -> bool {
    Subscription::of(user).course.reason.is_some()
}

impl Course {
    /// Reads what an export of another installation wrote.
    pub(crate) fn exported(value: &Value, context: &Context) -> std::result::Result<Course, Fault> {
        let course: Course = serde_json::from_value(value.clone())
            .map_err(|_| Fault::rule("format", "must be as an export of Usher has it"))?;
        if let Some(reason) = &course.reason {
            Note::parse(&Value::from(reason.0.as_str()), context)?;
        }
        Ok(course)
    }
}

/// Only Usher writes it: no dialect has a field for it.
impl Field for Course {
    fn parse(_: &Value, _: &Context) -> std::result::Result<Self, Fault> {
        Err(Fault::kind("left out"))
    }
    fn schema() -> Value {
        json!({"type": "object"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn begun(start: &str) -> Subscription {
        Subscription { plan: None, start: day(start), course: Course::default() }
    }

    #[test]
    fn a_start_that_moves_takes_a_pause_of_before_with_it() {
        let mut it = begun("2026-01-10");
        it.pause(day("2026-02-01"), None).unwrap();
        it.move_start(day("2026-03-01"));
        assert_eq!([it.state(day("2026-02-02")), it.state(day("2026-03-01"))], [State::Scheduled, State::Active]);
    }

    #[test]
    fn a_pause_ends_by_itself_and_a_cancellation_after_its_last_day() {
        let mut it = begun("2026-01-10");
        let states = |it: &Subscription, days: &[&str]| days.iter().map(|d| it.state(day(d))).collect::<Vec<_>>();
        assert_eq!(states(&it, &["2026-01-09", "2026-01-10"]), [State::Scheduled, State::Active]);
        it.pause(day("2026-02-01"), Some(Day(day("2026-03-01")))).unwrap();
        assert_eq!(
            states(&it, &["2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01"]),
            [State::Active, State::Paused, State::Paused, State::Active]
        );
        it.cancel(day("2026-03-05"), day("2026-03-31"), None).unwrap();
        assert_eq!(states(&it, &["2026-03-31", "2026-04-01"]), [State::Active, State::Cancelled]);
    }

    #[test]
    fn a_pause_until_a_day_that_has_come_is_none_and_ends_the_one_that_there_is() {
        let (today, gone) = (day("2026-02-01"), Some(Day(day("2023-12-30"))));
        let mut it = begun("2026-01-10");
        it.pause(today, gone).unwrap();
        assert!(it.course == Course::default());
        it.pause(today, None).unwrap();
        it.pause(day("2026-02-03"), gone).unwrap();
        let states = ["2026-02-02", "2026-02-03"].map(|on| it.state(day(on)));
        assert_eq!(states, [State::Paused, State::Active]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let today = day("2026-02-01");
        let code = |outcome: Result<()>| outcome.map_or_else(|e| e.code(), |()| "done");
        let mut later = begun("2026-03-01");
        assert_eq!(code(later.pause(today, None)), "subscription_not_begun");
        assert_eq!(code(later.resume(today, false)), "subscription_not_begun");
        assert_eq!(code(later.cancel(today, today, None)), "done");
        assert_eq!(code(later.resume(today, false)), "done", "a cancellation that is to come can be taken back");
        let mut over = begun("2026-01-01");
        assert_eq!(code(over.cancel(today, day("2026-01-31"), None)), "done");
        assert_eq!(code(over.pause(today, None)), "subscription_cancelled");
        assert_eq!(code(over.cancel(today, today, None)), "subscription_cancelled");
        assert_eq!(code(over.resume(today, false)), "subscription_cancelled");
        assert_eq!(code(over.resume(today, true)), "done");
        assert_eq!(over.state(today), State::Active);
    }
}
