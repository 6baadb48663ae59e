//! `usher webhook`

use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::audited::AuditedStore;
use super::{Common, or_dash};
use crate::api::versions::ApiDate;
use crate::apps::{self, AppId};
use crate::caller::{Actor, Origin, Scope};
use crate::clock::Timestamp;
use crate::config::span;
use crate::db::{IfMissing, Store, Tx};
use crate::error::{Error, Result};
use crate::users::Email;
use crate::webhooks::{self, Address, Change, Delivery, Endpoint, EndpointId, EventId, Kind, New, Replayed, Which};

#[derive(Subcommand)]
pub enum Webhook {
    /// Tell another system of every change; shows the secret that it verifies messages with, this once
    #[command(
        after_help = "Example:\n  usher webhook create https://crm.example.com/usher --app CLIENT_ID --environment live --event user.created --event user.updated"
    )]
    Create {
        /// Where messages are posted to
        #[arg(value_parser = address)]
        url: Address,
        /// The app's client id
        #[arg(long, value_name = "CLIENT_ID")]
        app: AppId,
        /// Sandbox or live
        #[arg(long)]
        environment: apps::Kind,
        /// Tell of this tenant's users only, by its name or id; a new name makes a new tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// What to tell of; can be given several times [default: everything]
        #[arg(long = "event", value_name = "KIND", value_parser = kind)]
        events: Vec<Kind>,
        /// The API date whose shapes the messages have
        #[arg(long, value_name = "DATE", value_parser = super::keys::date, default_value = ApiDate::NEWEST.as_str())]
        api_version: String,
        /// What to call it
        #[arg(long, default_value = "")]
        name: String,
        /// Who gets a mail when it is disabled because its address answered 410
        #[arg(long, value_name = "ADDRESS", value_parser = contact)]
        contact: Option<Email>,
    },
    /// List the webhooks with their state
    #[command(after_help = "Example:\n  usher webhook list")]
    List,
    /// Show a webhook with its newest deliveries
    #[command(after_help = "Example:\n  usher webhook show 0199d3a2-…  --limit 5")]
    Show {
        /// The webhook's id
        id: EndpointId,
        /// How many deliveries at the most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Change a webhook
    #[command(after_help = "Example:\n  usher webhook update 0199d3a2-…  --url https://crm.example.com/new")]
    Update {
        /// The webhook's id
        id: EndpointId,
        /// Where messages are posted to
        #[arg(long, value_parser = address)]
        url: Option<Address>,
        /// What to tell of; can be given several times
        #[arg(long = "event", value_name = "KIND", value_parser = kind, conflicts_with = "all_events")]
        events: Vec<Kind>,
        /// Tell of everything
        #[arg(long)]
        all_events: bool,
        /// The API date whose shapes the messages have
        #[arg(long, value_name = "DATE", value_parser = super::keys::date)]
        api_version: Option<String>,
        /// What to call it
        #[arg(long)]
        name: Option<String>,
        /// Who gets a mail when it is disabled because its address answered 410
        #[arg(long, value_name = "ADDRESS", value_parser = contact)]
        contact: Option<Email>,
        /// Nobody gets one
        #[arg(long, conflicts_with = "contact")]
        no_contact: bool,
    },
    /// Send nothing any more; what waits is skipped
    #[command(after_help = "Example:\n  usher webhook disable 0199d3a2-…")]
    Disable {
        /// The webhook's id
        id: EndpointId,
    },
    /// Send again; `replay` sends what was missed
    #[command(after_help = "Example:\n  usher webhook enable 0199d3a2-…")]
    Enable {
        /// The webhook's id
        id: EndpointId,
    },
    /// Remove a webhook with all that was sent to it
    #[command(after_help = "Example:\n  usher webhook remove 0199d3a2-…")]
    Remove {
        /// The webhook's id
        id: EndpointId,
    },
    /// Make a new secret and key; the old ones sign beside them for a while
    #[command(after_help = "Example:\n  usher webhook rotate 0199d3a2-…  --overlap 48h")]
    Rotate {
        /// The webhook's id
        id: EndpointId,
        /// How long the old ones sign, too
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span)]
        overlap: Duration,
    },
    /// Send a test message
    #[command(after_help = "Example:\n  usher webhook test 0199d3a2-…")]
    Test {
        /// The webhook's id
        id: EndpointId,
    },
    /// Send one event again, or all of a time range
    #[command(
        after_help = "Examples:\n  usher webhook replay 0199d3a2-…  --event evt_0199d3a4-…\n  usher webhook replay 0199d3a2-…  --since 6h\n  usher webhook replay 0199d3a2-…  --since 2026-11-20T08:00:00Z --until 2026-11-20T12:00:00Z"
    )]
    Replay {
        /// The webhook's id
        id: EndpointId,
        /// The event's id
        #[arg(long, value_name = "EVENT", conflicts_with_all = ["since", "until"], required_unless_present = "since")]
        event: Option<String>,
        /// From when on: a time, or how long ago
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Until when [default: now]
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Show every logged try of a delivery
    #[command(after_help = "Example:\n  usher webhook attempts 0199d3a5-…")]
    Attempts {
        /// The delivery's id
        delivery: webhooks::DeliveryId,
    },
}

fn address(text: &str) -> std::result::Result<Address, &'static str> {
    Address::new(text)
}

fn contact(text: &str) -> std::result::Result<Email, &'static str> {
    Email::new(text).ok_or("must be an e-mail address")
}

fn kind(text: &str) -> std::result::Result<Kind, String> {
    Kind::named(text).ok_or_else(|| {
        let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("must be one of: {}", words.join(", "))
    })
}

/// A time as people write it: RFC 3339, or how long ago.
fn time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let ago = span(text).ok().map(|span| now - span);
    ago.or_else(|| Timestamp::parse(text))
        .ok_or_else(|| Error::operator("write a time like 2026-11-20T08:00:00Z, or how long ago it was, like 6h"))
}

impl Webhook {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        let change =
            |id, change: Change| on(&store, id, move |tx, _| webhooks::change(tx, operator(), id, change.clone()));
        match self {
            Webhook::Create { url, app, environment, tenant, events, api_version, name, contact } => {
                let new = New { address: url, name, events, api_version, contact };
                let make = move |tx: &Tx| {
                    let environment = apps::environment(tx, app, environment)?.id;
                    let make = |name: &str| crate::tenants::named(tx, environment, operator(), name);
                    let tenant = tenant.as_deref().map(make).transpose()?;
                    webhooks::create(tx, Scope { environment, tenant }, operator(), &new)
                };
                with_secret(common, &store.write(make).await?, "Made")?;
            }
            Webhook::List => list(common, &store).await?,
            Webhook::Show { id, limit } => {
                let (endpoint, deliveries) =
                    store.read(move |tx| Ok((the_one(tx, id)?, webhooks::deliveries(tx, id, limit)?))).await?;
                show(common, &endpoint, &deliveries)?;
            }
            Webhook::Update { id, url, events, all_events, api_version, name, contact, no_contact } => {
                let events = (all_events || !events.is_empty()).then_some(events);
                let contact = (no_contact || contact.is_some()).then_some(contact);
                change(id, Change { address: url, name, events, api_version, enabled: None, contact }).await?;
                common.say(&json!({"id": id}), "Changed.");
            }
            Webhook::Disable { id } => {
                change(id, Change { enabled: Some(false), ..Change::default() }).await?;
                common.say(&json!({"id": id, "enabled": false}), "Disabled.");
            }
            Webhook::Enable { id } => {
                change(id, Change { enabled: Some(true), ..Change::default() }).await?;
                common
                    .say(&json!({"id": id, "enabled": true}), "Enabled. `usher webhook replay` sends what was missed.");
            }
            Webhook::Remove { id } => {
                on(&store, id, |tx, endpoint| webhooks::remove(tx, operator(), &endpoint)).await?;
                common.say(&json!({"id": id, "removed": true}), "Removed.");
            }
            Webhook::Rotate { id, overlap } => {
                let endpoint = on(&store, id, move |tx, _| webhooks::rotate(tx, operator(), id, overlap)).await?;
                with_secret(common, &endpoint, "New keys for")?;
            }
            Webhook::Test { id } => {
                let event =
                    on(&store, id, |tx, endpoint| webhooks::test(tx, operator(), &endpoint)).await?.webhook_id();
                common.say(&json!({"id": id, "event": event}), &format!("Queued as {event}."));
            }
            Webhook::Replay { id, event, since, until } => {
                let now = store.clock().now();
                let mut which = match (event, since) {
                    (Some(event), _) => Which::Event(EventId::parse(&event)?),
                    (None, since) => {
                        let since = time(since.as_deref().unwrap_or_default(), now)?;
                        Which::Between(since, until.map_or(Ok(now), |until| time(&until, now))?)
                    }
                };
                let mut count = 0;
                // Some at a time, so that nobody else waits for all of them.
                loop {
                    let replay = move |tx: &Tx, endpoint: Endpoint| webhooks::replay(tx, operator(), &endpoint, which);
                    let Replayed { queued, next } = on(&store, id, replay).await?;
                    count += queued;
                    match (which, next) {
                        (Which::Between(_, to), Some(next)) => which = Which::Between(next, to),
                        _ => break,
                    }
                }
                common.say(&json!({"id": id, "queued": count}), &format!("{count} queued again."));
            }
            Webhook::Attempts { delivery } => {
                let attempts = store.read(move |tx| webhooks::attempts(tx, delivery)).await?;
                let json: Vec<Value> = attempts.iter().map(|attempt| json!({
                    "at": attempt.created_at, "status": attempt.status, "millis": attempt.millis, "words": attempt.words,
                })).collect();
                let row = |attempt: &webhooks::Attempt| {
                    vec![
                        attempt.created_at.to_string(),
                        or_dash(attempt.status),
                        format!("{} ms", attempt.millis),
                        attempt.words.clone(),
                    ]
                };
                let rows = attempts.iter().map(row).collect();
                common.show(&json!(json), &["AT", "STATUS", "TOOK", "FIRST WORDS"], rows, "There was no try yet.");
            }
        }
        Ok(())
    }
}

fn operator() -> Origin {
    Origin::of(Actor::Operator)
}

fn the_one(tx: &Tx, id: EndpointId) -> Result<Endpoint> {
    webhooks::by_id(tx, id)?.ok_or_else(|| {
        Error::operator(format!("there is no webhook {id}. `usher webhook list` shows those that exist."))
    })
}

/// Does something to a webhook in one transaction.
async fn on<T: Send + 'static>(
    store: &AuditedStore,
    id: EndpointId,
    operation: impl Fn(&Tx, Endpoint) -> Result<T> + Send + 'static,
) -> Result<T> {
    store.write(move |tx| operation(tx, the_one(tx, id)?)).await
}

fn with_secret(common: &Common, endpoint: &Endpoint, what: &str) -> Result<()> {
    let keys = endpoint.keys.first().ok_or(Error::Integrity)?;
    let (secret, public) = (keys.secret(), keys.public_key()?);
    let json = json!({
        "id": endpoint.id, "secret": secret.expose(), "publicKey": public, "apiVersion": endpoint.api_version,
    });
    let words = format!(
        "{what} the webhook {}.\n\n  secret (v1)       {}\n  public key (v1a)  {public}\n\nThe secret is shown this once.",
        endpoint.id,
        secret.expose()
    );
    common.say(&json, &words);
    Ok(())
}

async fn list(common: &Common, store: &Store) -> Result<()> {
    let read = |tx: &Tx| {
        let endpoints = webhooks::list(tx, None)?.into_iter();
        let all = endpoints.map(|endpoint| {
            let (environment, waiting) = (apps::by_id(tx, endpoint.environment)?, webhooks::waiting(tx, endpoint.id)?);
            Ok((endpoint, environment, waiting))
        });
        all.collect::<Result<Vec<_>>>()
    };
    let all = store.scan(read).await?;
    let json: Vec<Value> = all
        .iter()
        .map(|(endpoint, environment, (waiting, since))| {
            let mut json = to_json(endpoint);
            json["clientId"] = json!(environment.app);
            json["environment"] = json!(environment.kind);
            json["waiting"] = json!(waiting);
            json["waitingSince"] = json!(since);
            json
        })
        .collect();
    let rows = all
        .iter()
        .map(|(endpoint, environment, (waiting, since))| {
            vec![
                endpoint.id.to_string(),
                endpoint.name.clone(),
                environment.kind.as_str().to_owned(),
                endpoint.address.host().to_owned(),
                endpoint.api_version.clone(),
                state(endpoint),
                waiting.to_string(),
                or_dash(*since),
            ]
        })
        .collect();
    let head = ["ID", "NAME", "ENVIRONMENT", "HOST", "API VERSION", "STATE", "WAITING", "SINCE"];
    common.show(&json!(json), &head, rows, "There are no webhooks. `usher webhook create URL` makes one.");
    Ok(())
}

fn state(endpoint: &Endpoint) -> String {
    match (endpoint.disabled_at, &endpoint.disabled_because) {
        (Some(_), Some(because)) => format!("disabled: {because}"),
        (Some(_), None) => "disabled".to_owned(),
        (None, _) => "enabled".to_owned(),
    }
}

fn show(common: &Common, endpoint: &Endpoint, deliveries: &[Delivery]) -> Result<()> {
    let mut json = to_json(endpoint);
    json["publicKeys"] = json!(endpoint.keys.iter().map(webhooks::sign::Keys::public_key).collect::<Result<Vec<_>>>()?);
    json["deliveries"] = deliveries.iter().map(delivery_to_json).collect();
    let row = |delivery: &Delivery| {
        vec![
            delivery.id.to_string(),
            delivery.event.webhook_id(),
            delivery.kind.as_str().to_owned(),
            delivery.created_at.to_string(),
            delivery.state.as_str().to_owned(),
            delivery.attempts.to_string(),
            or_dash(delivery.due_at),
            or_dash(delivery.failure.as_ref()),
        ]
    };
    if !common.json {
        let events: Vec<&str> = endpoint.events.iter().map(|kind| kind.as_str()).collect();
        super::print(&format!(
            "{}\n{}\nState: {}\nEvents: {}\nAPI version: {}\nContact: {}\n",
            endpoint.name,
            endpoint.address.as_str(),
            state(endpoint),
            if events.is_empty() { "everything".to_owned() } else { events.join(", ") },
            endpoint.api_version,
            or_dash(endpoint.contact.as_ref().map(Email::address)),
        ));
    }
    let head = ["DELIVERY", "EVENT", "KIND", "HAPPENED", "STATE", "TRIES", "NEXT TRY", "LAST FAILURE"];
    common.show(&json, &head, deliveries.iter().map(row).collect(), "Nothing was sent yet.");
    Ok(())
}

fn to_json(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id, "name": endpoint.name, "url": endpoint.address.as_str(), "events": endpoint.events,
        "apiVersion": endpoint.api_version, "tenantId": endpoint.tenant, "createdAt": endpoint.created_at,
        "enabled": endpoint.disabled_at.is_none(), "disabledAt": endpoint.disabled_at,
        "disabledBecause": endpoint.disabled_because, "contact": endpoint.contact.as_ref().map(Email::address),
    })
}

fn delivery_to_json(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "event": delivery.event.webhook_id(), "kind": delivery.kind, "userId": delivery.user,
        "createdAt": delivery.created_at, "state": delivery.state, "attempts": delivery.attempts,
        "dueAt": delivery.due_at, "failure": delivery.failure,
    })
}
