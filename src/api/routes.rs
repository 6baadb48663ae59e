//! Every route on one screen. A handler's signature states who may call it; no caller in it means public.

use axum::http::{HeaderName, Method, header};
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete, get, post, put};
use axum::{Router, middleware};
use tower_http::cors::{Any, CorsLayer};

use super::{Api, Surface, directory, openapi, partner, service};
use crate::error::Error;
use crate::ui;

/// One route.
pub struct Route {
    /// Whom it speaks to.
    pub surface: Surface,
    /// Its method.
    pub method: &'static str,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
    /// Its name in the OpenAPI documents.
    pub operation: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    handler: MethodRouter<Api>,
}

/// Every route.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    use Surface::{Directory, Extended, Pages, Partner, Service};
    let route = |surface, method, path, operation, summary, handler| Route { surface, method, path, operation, summary, handler };
    vec![
        route(Partner,   "POST", "/users/create",                "createUser",       "Enrol a person: make the user and mail them their link", post(partner::users::create)),
        route(Partner,   "POST", "/users/update",                "updateUser",       "Change the user with that e-mail address",               post(partner::users::update)),
        route(Partner,   "POST", "/users/retrieve",              "retrieveUser",     "The user with that e-mail address",                      post(partner::users::retrieve)),
        route(Partner,   "POST", "/subscription/update",         "updateSubscription","Change the plan, its start, or how the subscription stands", post(partner::subscriptions::update)),
        route(Partner,   "POST", "/subscription/pause",          "pauseSubscription","Let the subscription rest",                              post(partner::subscriptions::pause)),
        route(Partner,   "POST", "/subscription/cancel",         "cancelSubscription","End the subscription after a day",                      post(partner::subscriptions::cancel)),

        route(Directory, "GET",  "/v1/users/{userId}",           "getUser",          "A user by UUID or e-mail address",                       get(directory::users::get)),
        route(Directory, "PUT",  "/v1/users/{userId}",           "updateUser",       "Change a user",                                          put(directory::users::update)),
        route(Directory, "POST", "/v1/users/{userId}",           "updateUserByPost", "Change a user, as PUT does",                             post(directory::users::update)),
        route(Directory, "GET",  "/v1/apps/{appId}/public-keys", "getPublicKey",     "The key that verifies the environment's tokens",         get(directory::apps::public_key)),

        route(Extended,  "GET",    "/v1/webhooks",                     "listWebhooks",    "The webhooks of the environment",                get(directory::webhooks::list)),
        route(Extended,  "POST",   "/v1/webhooks",                     "createWebhook",   "Make a webhook; the answer holds its secret",    post(directory::webhooks::create)),
        route(Extended,  "GET",    "/v1/webhooks/{webhookId}",         "getWebhook",      "A webhook",                                      get(directory::webhooks::get)),
        route(Extended,  "PUT",    "/v1/webhooks/{webhookId}",         "updateWebhook",   "Change, enable or disable a webhook",            put(directory::webhooks::update)),
        route(Extended,  "DELETE", "/v1/webhooks/{webhookId}",         "removeWebhook",   "Remove a webhook with all that was sent to it",  delete(directory::webhooks::remove)),
        route(Extended,  "POST",   "/v1/webhooks/{webhookId}/rotate",  "rotateWebhook",   "Make new keys; the old ones sign beside them",   post(directory::webhooks::rotate)),
        route(Extended,  "POST",   "/v1/webhooks/{webhookId}/test",    "testWebhook",     "Send a test",                                    post(directory::webhooks::test)),
        route(Extended,  "POST",   "/v1/webhooks/{webhookId}/replay",  "replayWebhook",   "Send one event again, or all of a time range",   post(directory::webhooks::replay)),
        route(Extended,  "GET",    "/v1/webhooks/{webhookId}/deliveries", "listDeliveries", "The newest deliveries",                        get(directory::webhooks::deliveries)),
        route(Extended,  "GET",    "/v1/webhooks/{webhookId}/deliveries/{deliveryId}", "listAttempts", "Every logged try of a delivery",    get(directory::webhooks::attempts)),

        route(Pages,     "GET",  "/",                            "welcome",          "What this is",                                           get(ui::welcome)),
        route(Pages,     "GET",  "/links/{link}",                "showLink",         "The page of a magic link; changes nothing",              get(ui::links::show)),
        route(Pages,     "POST", "/links/{link}",                "followLink",       "Use a magic link, once",                                 post(ui::links::follow)),
        route(Pages,     "POST", "/links/{link}/renew",          "renewLink",        "Send a new link to the address on record",               post(ui::links::renew)),
        route(Pages,     "GET",  "/profile",                     "showProfile",      "The signed-in person's profile",                         get(ui::profile::show)),
        route(Pages,     "POST", "/sign-out",                    "signOut",          "End the session",                                        post(ui::profile::sign_out)),
        route(Pages,     "GET",  "/assets/{file}",               "asset",            "Style sheet and script of the pages",                    get(ui::asset)),

        route(Service,   "GET",  "/.well-known/jwks.json",       "getKeySet",        "The keys that verify tokens, as a JSON Web Key Set",     get(directory::apps::jwks)),
        route(Service,   "POST", "/webhooks/stripe/{account}",   "takeStripeEvent",  "What Stripe tells of customers that were deleted there", post(service::stripe)),
        route(Service,   "GET",  "/openapi",                     "listDocuments",    "The OpenAPI documents",                                  get(openapi::list)),
        route(Service,   "GET",  "/openapi/partner/{date}",      "partnerDocument",  "The partner API of one date",                            get(openapi::partner)),
        route(Service,   "GET",  "/openapi/directory.json",      "directoryDocument","The directory API",                                      get(openapi::directory)),
        route(Service,   "GET",  "/livez",                       "live",             "Whether the process runs",                               get(service::live)),
        route(Service,   "GET",  "/readyz",                      "ready",            "Whether requests can be answered",                       get(service::ready)),
        route(Service,   "GET",  "/metrics",                     "metrics",          "Counters in the OpenMetrics text format",                get(service::metrics)),
    ]
}

/// What the documented directory API has and this one has not, for whoever asks: money moves elsewhere.
const OUT_OF_SCOPE: [&str; 9] = [
    "/v1/users/{userId}/referral-invites",
    "/v1/users/{userId}/promotion-codes/{*code}",
    "/v1/apps/{appId}/promotions",
    "/v1/tenants/{tenantId}/checkout-sessions",
    "/v1/tenants/{tenantId}/stripe-invoices",
    "/v1/tenants/{tenantId}/stripe-subscriptions",
    "/v1/tenants/{tenantId}/stripe-payment-methods",
    "/v1/analytics/one-time-payments",
    "/v1/analytics/subscriptions",
];

/// The routes as axum wants them. The directory API also answers below `/api` (contract A6).
pub(super) fn router() -> Router<Api> {
    let mut router = Router::new();
    let mut directory = Router::new();
    for route in routes() {
        let handler = match route.surface {
            Surface::Directory => route.handler,
            Surface::Extended => route.handler.route_layer(middleware::map_response(extended)),
            _ => {
                router = router.route(route.path, route.handler);
                continue;
            }
        };
        directory = directory.route(route.path, handler.clone()).route(&format!("/api{}", route.path), handler);
    }
    for path in OUT_OF_SCOPE {
        let refuse = any(|| async { Error::OutOfScope });
        directory = directory.route(path, refuse.clone()).route(&format!("/api{path}"), refuse);
    }
    // The layer must be around the 405 too, or a browser's preflight would meet that instead.
    router.merge(directory.method_not_allowed_fallback(method_not_allowed).layer(cors()))
}

/// Tells the edge how this route's errors look.
async fn extended(mut response: Response) -> Response {
    response.extensions_mut().insert(Surface::Extended);
    response
}

/// What the address does not take.
pub(super) async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}

/// Browsers may call the directory API from any origin, with tokens and without cookies (contract item 59).
fn cors() -> CorsLayer {
    let custom = ["authentication", "x-api-key", "x-api-key-type", "x-client-id", "idempotency-key", "if-match"]
        .map(HeaderName::from_static);
    let headers = [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT].into_iter().chain(custom);
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(headers.collect::<Vec<_>>())
        .expose_headers(["request-id", "etag", "idempotent-replayed"].map(HeaderName::from_static))
        .max_age(std::time::Duration::from_mins(10))
}
