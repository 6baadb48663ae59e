//! Counters for operators, in the OpenMetrics text format. Labels are routes and statuses only.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::Method;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 3];
type Tries = Family<[(&'static str, &'static str); 1], Counter>;

/// The counters of one process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Histogram,
    mails: Tries,
    webhooks: Tries,
    billing: Tries,
    mail_wait: Gauge<f64, AtomicU64>,
    backup_age: Gauge<f64, AtomicU64>,
}

/// Counters that are there from the start: of one that appears with its first failure, Prometheus sees no increase.
fn tries(outcomes: &[&'static str]) -> Tries {
    let tries = Tries::default();
    for outcome in outcomes {
        drop(tries.get_or_create(&[("outcome", *outcome)]));
    }
    tries
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("usher");
        let requests = Family::default();
        let mails = tries(&["sent", "retry", "failed", "withdrawn", "held"]);
        let webhooks = tries(&["sent", "retry", "failed", "gone", "skipped"]);
        let billing = tries(&["sent", "retry", "failed"]);
        let seconds = Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]);
        registry.register("http_requests", "Requests by method, route and status", requests.clone());
        registry.register("http_request_seconds", "How long requests took", seconds.clone());
        registry.register("mails", "Tries to send a mail, by what came of them", mails.clone());
        registry.register("webhooks", "Tries to send a webhook, by what came of them", webhooks.clone());
        registry.register("billing", "Tries to tell the billing provider, by what came of them", billing.clone());
        let mail_wait = Gauge::default();
        let help = "For how long the oldest mail has waited that is due or was tried, of all servers; NaN if that is not known";
        registry.register("mail_wait_seconds", help, mail_wait.clone());
        let backup_age = Gauge::default();
        let help = "How long ago the last verified backup was begun; inf if there was none, NaN if that is not known";
        registry.register("backup_age_seconds", help, backup_age.clone());
        Metrics { registry, requests, seconds, mails, webhooks, billing, mail_wait, backup_age }
    }
}

impl Metrics {
    /// Counts a request.
    pub fn note(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a try to send a mail.
    pub fn note_mail(&self, outcome: &'static str) {
        self.mails.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a try to send a webhook.
    pub fn note_webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a try to tell the billing provider of a change.
    pub fn note_billing(&self, outcome: &'static str) {
        self.billing.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Notes for how long mail waits, if that is known.
    pub fn note_wait(&self, longest: Option<Duration>) {
        self.mail_wait.set(longest.map_or(f64::NAN, |longest| longest.as_secs_f64()));
    }

    /// Notes how old the last verified backup is: infinitely, if there was none. `None` if that is not known.
    pub fn note_backup(&self, age: Option<f64>) {
        self.backup_age.set(age.unwrap_or(f64::NAN));
    }

    /// All counters as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A method's name, with one name for all that are not standard: a label must not be of a caller's making.
pub fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
