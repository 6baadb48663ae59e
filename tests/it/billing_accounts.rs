//! Which account at Stripe has a user's customer: another one that takes its place strands nobody unseen.

use serde_json::json;
use usher::apps::Kind;
use usher::audit::Action;
use usher::billing::{self, Account, Mode};
use usher::caller::Actor;
use usher::outbox::{Job, State};

use crate::billing::all_done;
use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::CREATE;
use crate::stripe::{MAKE, Stripe, customer, refused};

/// An app with a user who is `cus_1` at the first of two accounts; the second one knows no such customer.
async fn two_accounts() -> (TestApp, String, Stripe, Stripe) {
    let (app, first, second) = (TestApp::new().await, Stripe::start().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &first.url()).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    second.lacks("cus_1", refused(404)).await;
    (app, id, first, second)
}

impl TestApp {
    /// The operator's word is that it is the account of before.
    async fn say_same(&self, stripe: &Stripe) -> Account {
        self.try_to_connect_billing(Kind::Sandbox, Mode::Test, &stripe.url(), true).await.unwrap()
    }

    async fn retried(&self) {
        self.store().write(|tx| billing::retry(tx, OPERATOR, None, None)).await.unwrap();
        self.app.api().outbox.wake();
    }

    /// The newest job, given up.
    async fn given_up(&self, count: usize) -> Job {
        let is_failed = |job: &Job| job.state == State::Failed;
        self.billed(|jobs| jobs.len() == count && jobs.last().is_some_and(is_failed)).await.pop().unwrap()
    }

    async fn rename(&self, id: &str, name: &str) {
        self.server().await.put(&format!("/v1/users/{id}"), json!({"user": {"name": name}})).await.ok();
    }
}

#[tokio::test]
async fn another_key_or_address_is_not_taken_where_there_are_customers_unless_it_is_said_to_be_the_same_account() {
    let (app, _, first, second) = two_accounts().await;
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &first.url()).await;
    let connect = async || app.try_to_connect_billing(Kind::Sandbox, Mode::Test, &second.url(), false).await;
    let refused = connect().await.unwrap_err().to_string();
    assert!(refused.contains("--same-account") && refused.contains("--forget-customers"), "{refused}");
    let kept = app.store().read(move |tx| billing::by_id(tx, account.id)).await.unwrap().unwrap();
    assert_eq!(kept.settings.url(), first.url());
    // To disconnect it first is no way around.
    app.store().write(move |tx| billing::disconnect(tx, account.id)).await.unwrap();
    assert!(connect().await.is_err());
    assert_eq!(app.say_same(&second).await.settings.url(), second.url());
    app.connect_billing(Kind::Live, Mode::Test, &second.url()).await;
    app.connect_billing(Kind::Live, Mode::Live, &second.url()).await;
}

#[tokio::test]
async fn who_is_unknown_to_the_account_is_not_said_to_be_erased_and_is_once_their_account_is_back() {
    let (app, id, first, second) = two_accounts().await;
    app.say_same(&second).await;
    app.erased(&id).await;
    let why = app.given_up(1).await.failure.unwrap();
    assert!(why.contains("connect the one that does and retry, or delete them there"), "{why}");
    assert_eq!(second.asked().await, ["DELETE /v1/customers/cus_1", "GET /v1/customers/cus_1"]);
    app.say_same(&first).await;
    app.retried().await;
    app.billed(all_done).await;
    assert_eq!(first.asked().await.last().unwrap(), "DELETE /v1/customers/cus_1");
}

#[tokio::test]
async fn who_is_unknown_to_the_account_is_not_made_a_customer_of_it_unseen() {
    let (app, id, first, second) = two_accounts().await;
    app.say_same(&second).await;
    app.rename(&id, "Janet").await;
    let why = app.given_up(2).await.failure.unwrap();
    assert!(why.contains("connect this one with --forget-customers"), "{why}");
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_1"));
    app.say_same(&first).await;
    app.retried().await;
    app.billed(all_done).await;
    assert_eq!(first.told("name").await, ["jane doe", "Janet"]);
}

#[tokio::test]
async fn another_account_takes_the_place_of_one_whose_customers_are_forgotten() {
    let (app, jane, first, second) = two_accounts().await;
    let john = app.partner("acme").await.post(CREATE, john()).await.ok().id().to_owned();
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    let environment = app.user(&jane).await.environment;
    let forget = |mode| app.store().write(move |tx| billing::forget_customers(tx, environment, mode));
    assert_eq!((forget(Mode::Live).await.unwrap(), forget(Mode::Test).await.unwrap()), (0, 2));
    assert_eq!(forget(Mode::Test).await.unwrap(), 0);
    app.connect_billing(Kind::Sandbox, Mode::Test, &second.url()).await;
    let noted = app.audited(Action::CustomerForgotten).await;
    assert!(noted.len() == 2 && noted.iter().all(|entry| entry.actor == Some(Actor::Operator)), "{noted:?}");
    second.says(MAKE, [customer(8), customer(9)]).await;
    for id in [&jane, &john] {
        app.rename(id, "Anew").await;
    }
    app.billed(|jobs| jobs.len() == 4 && all_done(jobs)).await;
    assert_eq!(second.told("name").await, ["Anew", "Anew"]);
    let asked = first.asked().await.len();
    app.erased(&john).await;
    app.billed(|jobs| jobs.len() == 3 && all_done(jobs)).await;
    assert!(second.asked().await.last().unwrap().starts_with("DELETE"));
    assert_eq!(first.asked().await.len(), asked, "of whom the operator has taken charge");
}

#[tokio::test]
async fn what_the_operator_has_seen_to_is_counted_as_done() {
    let (app, id, _, second) = two_accounts().await;
    app.say_same(&second).await;
    app.erased(&id).await;
    let job = app.given_up(1).await.id;
    let dismiss = || app.store().write(move |tx| billing::dismiss(tx, job));
    dismiss().await.unwrap();
    let done = app.billed(all_done).await.remove(0);
    assert_eq!((done.payload.unwrap().0, done.failure), (json!({"to": null}), None));
    assert_eq!(app.audited(Action::BillingDismissed).await[0].target, Some(job.0));
    let again = dismiss().await.unwrap_err().to_string();
    assert!(again.contains("usher billing failures"), "{again}");
}
