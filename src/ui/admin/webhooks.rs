//! Webhooks: where events go to, what became of them, and sending them again. For owners: an address may hold a secret.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::json;

use super::access::{Owner, Within};
use super::{Frame, span_of};
use crate::api::Api;
use crate::api::body::Form;
use crate::api::versions::ApiDate;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ui::page;
use crate::users::Email;
use crate::webhooks::{
    self, Address, Attempt, Change, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Kind, New, Which,
};

/// How many deliveries are listed, the newest.
const ROWS: i64 = 100;

#[derive(Template)]
#[template(path = "admin/webhooks.html")]
struct WebhooksPage<'a> {
    frame: &'a Frame,
    /// With how much waits, and since when.
    webhooks: Vec<(Endpoint, (i64, Option<Timestamp>))>,
    now: Timestamp,
}

impl WebhooksPage<'_> {
    fn command(&self) -> String {
        format!("usher webhook create ADDRESS{}", self.frame.options())
    }

    fn request(&self) -> String {
        self.frame.curl_with("POST", "/v1/webhooks", &json!({"url": "ADDRESS"}))
    }
}

#[derive(Template)]
#[template(path = "admin/webhook.html")]
struct WebhookPage<'a> {
    frame: &'a Frame,
    webhook: Endpoint,
    public_key: String,
    deliveries: Vec<Delivery>,
    said: &'static str,
    now: Timestamp,
}

impl WebhookPage<'_> {
    fn at(&self) -> String {
        format!("{}/webhooks/{}", self.frame.base(), self.webhook.id)
    }

    fn commands(&self) -> String {
        let words: &[&str] = match self.webhook.disabled_at {
            None => &["test ID", "replay ID --since 1h", "rotate ID --overlap 24h", "disable ID", "remove ID"],
            Some(_) => &["enable ID", "rotate ID --overlap 24h", "remove ID"],
        };
        let line = |words: &&str| format!("usher webhook {}", words.replace("ID", &self.webhook.id.to_string()));
        let again = self.deliveries.iter().filter(|delivery| self.can_be_sent_again(delivery));
        let again = again.map(|delivery| {
            format!("usher webhook replay {} --event {}", self.webhook.id, delivery.event.webhook_id())
        });
        words.iter().map(line).chain(again).collect::<Vec<_>>().join("\n")
    }

    fn can_be_sent_again(&self, delivery: &Delivery) -> bool {
        delivery.due_at.is_none() && self.webhook.disabled_at.is_none()
    }

    /// The requests that do the same.
    fn requests(&self) -> String {
        let at = |rest: &str| format!("/v1/webhooks/{}{rest}", self.webhook.id);
        let since = self.now - Duration::from_hours(1);
        let is_enabled = self.webhook.disabled_at.is_none();
        let mut requests = Vec::new();
        if is_enabled {
            requests.push(self.frame.curl_with("POST", &at("/test"), &json!({})));
            requests.push(self.frame.curl_with("POST", &at("/replay"), &json!({"since": since, "until": self.now})));
        }
        requests.push(self.frame.curl_with("POST", &at("/rotate"), &json!({"overlapSeconds": 86_400})));
        requests.push(self.frame.curl_with("PUT", &at(""), &json!({ "enabled": !is_enabled })));
        requests.push(self.frame.curl("DELETE", &at("")));
        requests.join("\n")
    }
}

#[derive(Template)]
#[template(path = "admin/webhook-secret.html")]
struct SecretPage<'a> {
    frame: &'a Frame,
    webhook: &'a Endpoint,
    secret: String,
    public_key: String,
}

#[derive(Template)]
#[template(path = "admin/delivery.html")]
struct DeliveryPage<'a> {
    frame: &'a Frame,
    webhook: Endpoint,
    delivery: DeliveryId,
    attempts: Vec<Attempt>,
    now: Timestamp,
}

fn called(webhook: &Endpoint) -> &str {
    if webhook.name.is_empty() { webhook.address.host() } else { &webhook.name }
}

fn state(webhook: &Endpoint) -> &'static str {
    if webhook.disabled_at.is_some() { "disabled" } else { "enabled" }
}

fn events(webhook: &Endpoint) -> String {
    let kinds: Vec<&str> = webhook.events.iter().map(|kind| kind.as_str()).collect();
    if kinds.is_empty() { "everything".to_owned() } else { kinds.join(", ") }
}

fn id(text: &str) -> Result<EndpointId> {
    text.parse().map_err(|_| Error::NoWebhook)
}

fn contact(text: &str) -> Result<Email> {
    Email::new(text).ok_or_else(|| Error::bad_request("malformed_contact", "The contact must be an e-mail address"))
}

/// Does something to a webhook of the environment in one transaction.
async fn on<T: Send + 'static>(
    api: &Api,
    here: &Within<Owner>,
    id: EndpointId,
    operation: impl Fn(&Tx, Endpoint) -> Result<T> + Send + 'static,
) -> Result<T> {
    let scope = here.caller.scope;
    api.store.write(move |tx| operation(tx, webhooks::get(tx, scope, id)?)).await
}

fn secret_page(frame: &Frame, webhook: &Endpoint) -> Result<Response> {
    let keys = webhook.keys.first().ok_or(Error::Integrity)?;
    let (secret, public_key) = (keys.secret().expose().to_owned(), keys.public_key()?);
    Ok(page(&SecretPage { frame, webhook, secret, public_key }))
}

/// `GET /admin/{appId}/{environment}/webhooks`
pub async fn list(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let scope = here.caller.scope;
    let read = move |tx: &Tx| {
        let all = webhooks::of_scope(tx, scope)?.into_iter();
        all.map(|webhook| Ok((webhook.clone(), webhooks::waiting(tx, webhook.id)?))).collect::<Result<Vec<_>>>()
    };
    let webhooks = api.store.read(read).await?;
    Ok(page(&WebhooksPage { frame: &here.frame, webhooks, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/webhooks`: the answer holds the secret, and nothing else ever does.
pub async fn create(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    let address = Address::new(form.get("url").unwrap_or_default());
    let new = New {
        address: address.map_err(|rule| Error::bad_request("malformed_url", format!("The address {rule}")))?,
        name: form.get("name").unwrap_or_default().to_owned(),
        events: Kind::ALL.iter().copied().filter(|kind| form.get(kind.as_str()).is_some()).collect(),
        api_version: ApiDate::named(form.get("api_version").unwrap_or(ApiDate::NEWEST.as_str()))?.as_str().to_owned(),
        contact: form.get("contact").map(contact).transpose()?,
    };
    let (scope, origin) = (here.caller.scope, here.caller.origin());
    let webhook = api.store.write(move |tx| webhooks::create(tx, scope, origin, &new)).await?;
    secret_page(&here.frame, &webhook)
}

/// `GET /admin/{appId}/{environment}/webhooks/{webhookId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (id, scope) = (id(&text)?, here.caller.scope);
    let read = move |tx: &Tx| Ok((webhooks::get(tx, scope, id)?, webhooks::deliveries(tx, id, ROWS)?));
    let (webhook, deliveries) = api.store.read(read).await?;
    let said = match query.as_deref().and_then(|query| query.strip_prefix("said=")) {
        Some("tested") => "A test is on its way. It is listed below.",
        Some("replayed") => "Queued again, oldest first, with the ids of before.",
        Some("enabled") => "Enabled. What it missed can be sent again below.",
        Some("disabled") => "Disabled. What waited is skipped.",
        _ => "",
    };
    let public_key = webhook.keys.first().ok_or(Error::Integrity)?.public_key()?;
    let now = api.store.clock().now();
    Ok(page(&WebhookPage { frame: &here.frame, webhook, public_key, deliveries, said, now }))
}

/// `GET /admin/{appId}/{environment}/webhooks/{webhookId}/deliveries/{deliveryId}`
pub async fn delivery(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text, delivery)): Path<(String, String, String, String)>,
) -> Result<Response> {
    let (id, scope) = (id(&text)?, here.caller.scope);
    let delivery: DeliveryId = delivery.parse().map_err(|_| Error::NotFound("There is no such delivery"))?;
    let read = move |tx: &Tx| {
        let webhook = webhooks::get(tx, scope, id)?;
        let attempts = webhooks::attempts_at(tx, &webhook, delivery)?;
        Ok((webhook, attempts))
    };
    let (webhook, attempts) = api.store.read(read).await?;
    Ok(page(&DeliveryPage { frame: &here.frame, webhook, delivery, attempts, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/test`
pub async fn test(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
) -> Result<Response> {
    let (id, origin) = (id(&text)?, here.caller.origin());
    on(&api, &here, id, move |tx, webhook| webhooks::test(tx, origin, &webhook)).await?;
    api.outbox.wake();
    Ok(here.frame.back(&format!("webhooks/{id}?said=tested")))
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/replay`: one event, or those of the last hours or days.
pub async fn replay(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let (id, origin, now) = (id(&text)?, here.caller.origin(), api.store.clock().now());
    let which = match form.get("event") {
        Some(event) => Which::Event(EventId::parse(event)?),
        None => Which::Between(now - span_of(form.get("since").unwrap_or_default())?, now),
    };
    on(&api, &here, id, move |tx, webhook| webhooks::replay(tx, origin, &webhook, which)).await?;
    api.outbox.wake();
    Ok(here.frame.back(&format!("webhooks/{id}?said=replayed")))
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/rotate`: the answer holds the new secret.
pub async fn rotate(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let (id, origin) = (id(&text)?, here.caller.origin());
    let overlap = span_of(form.get("overlap").unwrap_or("24h"))?;
    let rotate = move |tx: &Tx, webhook: Endpoint| webhooks::rotate(tx, origin, webhook.id, overlap);
    let webhook = on(&api, &here, id, rotate).await?;
    secret_page(&here.frame, &webhook)
}

async fn set_enabled(api: &Api, here: &Within<Owner>, text: &str, enabled: bool) -> Result<Response> {
    let (id, origin) = (id(text)?, here.caller.origin());
    let change = move || Change { enabled: Some(enabled), ..Change::default() };
    on(api, here, id, move |tx, webhook| webhooks::change(tx, origin, webhook.id, change())).await?;
    Ok(here.frame.back(&format!("webhooks/{id}?said={}", if enabled { "enabled" } else { "disabled" })))
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/enable`
pub async fn enable(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
) -> Result<Response> {
    set_enabled(&api, &here, &text, true).await
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/disable`
pub async fn disable(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
) -> Result<Response> {
    set_enabled(&api, &here, &text, false).await
}

/// `POST /admin/{appId}/{environment}/webhooks/{webhookId}/remove`
pub async fn remove(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    super::typed(&form, "remove")?;
    let (id, origin) = (id(&text)?, here.caller.origin());
    on(&api, &here, id, move |tx, webhook| webhooks::remove(tx, origin, &webhook)).await?;
    Ok(here.frame.back("webhooks"))
}
