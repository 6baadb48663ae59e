//! Every route on one screen. A handler's signature states who may call it; no caller in it means public.

use axum::http::{HeaderName, Method, header};
use axum::response::Response;
use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
use axum::{Router, middleware};
use tower_http::cors::{Any, CorsLayer};

use super::{Api, Surface, directory, oauth, openapi, partner, service};
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
#[expect(clippy::too_many_lines, reason = "one line for each route")]
pub fn routes() -> Vec<Route> {
    use Surface::{Admin, Directory, Extended, OAuth, Pages, Partner, Service};
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
        route(Directory, "POST", "/v1/users/{userId}",           "updateUserByPost", "Change a user, as PUT does; or invite somebody",         post(directory::users::post)),
        route(Directory, "DELETE", "/v1/users/{userId}",         "deleteUser",       "Delete a user, who can be restored for 30 days",         delete(directory::users::delete)),
        route(Directory, "GET",  "/v1/apps/{appId}/public-keys", "getPublicKey",     "The key that verifies the environment's tokens",         get(directory::apps::public_key)),
        route(Directory, "GET",  "/v1/public-key",               "getOwnPublicKey",  "The same, of the app that asks",                         get(directory::apps::own_public_key)),
        route(Extended,  "GET",  "/v1/users/{userId}/sessions",  "listSessions",     "Where a user is signed in",                              get(directory::sessions::list)),
        route(Extended,  "DELETE", "/v1/users/{userId}/sessions", "endSessions",     "Sign a user out everywhere",                             delete(directory::sessions::revoke_all)),
        route(Extended,  "DELETE", "/v1/users/{userId}/sessions/{sessionId}", "endSession", "End one session of a user",                       delete(directory::sessions::revoke)),
        route(Directory, "GET",  "/v1/apps/{appId}/user-roles",  "listRoles",        "The roles that users can have",                          get(directory::apps::user_roles)),
        route(Directory, "PUT",  "/v1/apps/{appId}/users/{userId}/access-status/{accessStatus}", "setAccessStatus", "Freeze a user, or unfreeze", put(directory::apps::access_status)),
        route(Directory, "GET",  "/v1/tenants/{tenantId}",       "getTenant",        "A tenant with the users that the caller may see",        get(directory::tenants::get)),
        route(Directory, "PUT",  "/v1/tenants/{tenantId}",       "updateTenant",     "Change a tenant",                                        put(directory::tenants::update)),
        route(Directory, "GET",  "/v1/analytics/sign-ins",       "listSignIns",      "Who signed in between two days",                         get(directory::analytics::sign_ins)),
        route(Directory, "GET",  "/v1/analytics/tenants",        "listTenants",      "The tenants made between two days",                      get(directory::analytics::tenants)),

        route(Extended,  "GET",  "/v1/users",                    "listUsers",        "Users by filters, page by page",                         get(directory::users::list)),
        route(Extended,  "POST", "/v1/users",                    "createUser",       "Make a user",                                            post(directory::users::create)),
        route(Extended,  "PATCH", "/v1/users/{userId}",          "patchUser",        "Change a user by a JSON Merge Patch (RFC 7396)",         patch(directory::users::patch)),
        route(Extended,  "GET",  "/v1/users/{userId}/events",    "listEvents",       "What happened to a user",                                get(directory::users::events)),
        route(Extended,  "POST", "/v1/users/{userId}/restore",   "restoreUser",      "Bring a deleted user back",                              post(directory::users::restore)),
        route(Extended,  "POST", "/v1/users/{userId}/erase",     "eraseUser",        "Erase a user for good",                                  post(directory::users::erase)),
        route(Extended,  "GET",  "/v1/users/{userId}/subscription", "getSubscription", "How a user's subscription stands",                    get(directory::subscriptions::get)),
        route(Extended,  "PUT",  "/v1/users/{userId}/user-roles", "giveRole",        "Give a user a role",                                     put(directory::users::give_role)),
        route(Extended,  "DELETE", "/v1/users/{userId}/user-roles", "takeRole",      "Take a user's role away",                                delete(directory::users::take_role)),

        route(Extended,  "POST",   "/v1/imports",                      "beginImport",     "Take people over from a file",                   post(directory::imports::begin)),
        route(Extended,  "GET",    "/v1/imports",                      "listImports",     "The newest imports",                             get(directory::imports::list)),
        route(Extended,  "GET",    "/v1/imports/{importId}",           "getImport",       "How far an import is",                           get(directory::imports::get)),
        route(Extended,  "DELETE", "/v1/imports/{importId}",           "undoImport",      "Erase the users of an import, but who has changed or signed in since", delete(directory::imports::undo)),
        route(Extended,  "GET",    "/v1/imports/{importId}/rows",      "listImportRows",  "What became of the rows of an import",           get(directory::imports::rows)),

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

        route(OAuth,     "POST", "/v1/tokens",                   "exchange",         "Tokens for a code or a refresh token, as the official clients ask", post(oauth::tokens::official)),
        route(OAuth,     "POST", "/oauth/token",                 "token",            "Tokens for a code or a refresh token (RFC 6749)",        post(oauth::tokens::standard)),
        route(OAuth,     "POST", "/oauth/revoke",                "revoke",           "End the session of a token (RFC 7009)",                  post(oauth::tokens::revoke)),
        route(OAuth,     "GET",  "/userinfo",                    "userinfo",         "What is known of the person (OpenID Connect)",           get(oauth::userinfo)),
        route(OAuth,     "POST", "/userinfo",                    "userinfoByPost",   "The same",                                               post(oauth::userinfo)),

        route(Pages,     "GET",  "/sign-in",                     "showSignIn",       "Sign in to an app",                                      get(ui::sign_in::show)),
        route(Pages,     "POST", "/sign-in",                     "beginSignIn",      "Have a link and a code mailed",                          post(ui::sign_in::begin)),
        route(Pages,     "GET",  "/authorize",                   "authorize",        "Sign in to an app (OpenID Connect)",                     get(ui::sign_in::authorize)),
        route(Pages,     "POST", "/authorize",                   "beginAuthorize",   "Have a link and a code mailed",                          post(ui::sign_in::begin_standard)),
        route(Pages,     "GET",  "/sign-in/code",                "showCode",         "Where the code of the mail goes",                        get(ui::sign_in::show_code)),
        route(Pages,     "POST", "/sign-in/code",                "typeCode",         "Sign in by the code",                                    post(ui::sign_in::type_code)),
        route(Pages,     "GET",  "/sign-in/links/{link}",        "showSignInLink",   "The page of the mail's link; changes nothing",           get(ui::sign_in::show_link)),
        route(Pages,     "POST", "/sign-in/links/{link}",        "followSignInLink", "Sign in by the link, once",                              post(ui::sign_in::follow)),
        route(Pages,     "GET",  "/",                            "welcome",          "What this is",                                           get(ui::welcome)),
        route(Pages,     "GET",  "/links/{link}",                "showLink",         "The page of a magic link; changes nothing",              get(ui::links::show)),
        route(Pages,     "POST", "/links/{link}",                "followLink",       "Use a magic link, once",                                 post(ui::links::follow)),
        route(Pages,     "POST", "/links/{link}/renew",          "renewLink",        "Send a new link to the address on record",               post(ui::links::renew)),
        route(Pages,     "GET",  "/profile",                     "showProfile",      "The signed-in person's profile",                         get(ui::profile::show)),
        route(Pages,     "POST", "/profile",                     "saveProfile",      "Change one's own profile",                               post(ui::profile::save)),
        route(Pages,     "POST", "/profile/data",                "downloadData",     "Everything that is held about oneself, as a file",       post(ui::profile::data)),
        route(Pages,     "POST", "/profile/sign-out-everywhere", "signOutEverywhere","End every session of one's own",                         post(ui::profile::sign_out_everywhere)),
        route(Pages,     "GET",  "/sign-out",                    "askSignOut",       "Sign out of an app that says so, or ask (OpenID Connect)", get(ui::sign_out::ask)),
        route(Pages,     "POST", "/sign-out",                    "signOut",          "End the session, or as GET for an app",                  post(ui::sign_out::leave)),
        route(Pages,     "GET",  "/docs",                        "showDocs",         "The documentation",                                      get(ui::docs::home)),
        route(Pages,     "GET",  "/docs/search",                 "searchDocs",       "Search the documentation",                               get(ui::docs::find)),
        route(Pages,     "GET",  "/docs/{*page}",                "showDocsPage",     "A page of it; with `.md`, as Markdown",                  get(ui::docs::show)),
        route(Pages,     "GET",  "/llms.txt",                    "listDocs",         "Its pages, for programs that read",                      get(ui::docs::llms)),
        route(Pages,     "GET",  "/llms-full.txt",               "readDocs",         "All of it in one text",                                  get(ui::docs::llms_full)),
        route(Pages,     "GET",  "/brand/{file}",                "brand",            "An app's logo, or its colour as a style sheet",          get(ui::brand::get)),
        route(Pages,     "GET",  "/assets/{file}",               "asset",            "Style sheet and script of the pages",                    get(ui::assets::get)),

        route(Pages,     "POST", "/theme",                       "chooseTheme",      "Light, dark, or as the system has it",                   post(ui::theme::choose)),
        route(Admin,     "GET",  "/admin/sign-in",               "showAdminSignIn",  "Where administrators ask for a link",                    get(ui::admin::sign_in::show)),
        route(Admin,     "POST", "/admin/sign-in",               "askAdminLink",     "Have a link mailed",                                     post(ui::admin::sign_in::ask)),
        route(Admin,     "GET",  "/admin/setup/{link}",          "showSetup",        "The page of the set-up address",                         get(ui::admin::sign_in::show_setup)),
        route(Admin,     "POST", "/admin/setup/{link}",          "setUp",            "Make the first administrator, once",                     post(ui::admin::sign_in::set_up)),
        route(Admin,     "GET",  "/admin/links/{link}",          "showAdminLink",    "The page of an administrator's link; changes nothing",   get(ui::admin::sign_in::show_link)),
        route(Admin,     "POST", "/admin/links/{link}",          "followAdminLink",  "Sign in by the link, once",                              post(ui::admin::sign_in::follow)),
        route(Admin,     "POST", "/admin/sign-out",              "adminSignOut",     "End the administrator's session",                        post(ui::admin::sign_in::sign_out)),
        route(Admin,     "GET",  "/admin",                       "enterDashboard",   "To the first app",                                       get(ui::admin::enter)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}", "showHome",         "How the environment does",                               get(ui::admin::home::show)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/search", "find",      "A person or a request, by whatever is known of it",      get(ui::admin::search::find)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/users", "showUsers",  "The users, by filters or a search",                      get(ui::admin::users::list)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/users/export", "exportUsers", "The users that the filters let through, as a file", get(ui::admin::users::export)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/users/{userId}", "showUser", "A user",                                         get(ui::admin::user::show)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/users/{userId}/{tab}", "showUserTab", "More about a user",                     get(ui::admin::user::tab)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/reveal", "revealHealth", "Show what the programme knows",       post(ui::admin::user::reveal)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/send-link", "sendUserLink", "Send a new link",                  post(ui::admin::user::send_link)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/freeze", "freezeUser", "Keep a user from signing in",           post(ui::admin::user::freeze)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/unfreeze", "unfreezeUser", "Let a frozen user sign in again",    post(ui::admin::user::unfreeze)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/restore", "restoreUserHere", "Bring a deleted user back",         post(ui::admin::user::restore)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/end-session", "endUserSession", "Sign a user out once",         post(ui::admin::user::end_session)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/end-sessions", "endUserSessions", "Sign a user out everywhere", post(ui::admin::user::end_sessions)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/delete", "deleteUserHere", "Delete a user, who can be restored",  post(ui::admin::user::delete)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/users/{userId}/erase", "eraseUserHere", "Erase a user for good",                post(ui::admin::user::erase)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/imports", "showImports", "The newest imports", get(ui::admin::imports::list)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/imports", "sendImportFile", "Send a file of people, to see what would become of it", post(ui::admin::imports::send)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/imports/{importId}", "showImport", "What becomes of a file, and how far it is", get(ui::admin::imports::show)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/imports/{importId}", "startImport", "Rehearse an import, or take it over", post(ui::admin::imports::start)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/imports/{importId}/result", "exportImportResult", "What became of each row, as a file", get(ui::admin::imports::result)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/imports/{importId}/discard", "discardImportFile", "Remove a file that waits", post(ui::admin::imports::discard)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/imports/{importId}/undo", "undoImportHere", "Erase the users of an import, but who has changed or signed in since", post(ui::admin::imports::undo)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails", "showMails", "What was mailed", get(ui::admin::mails::list)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails/{mailId}", "showMail", "A mail", get(ui::admin::mails::show)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails/{mailId}/html", "showMailHtml", "How a captured mail looks", get(ui::admin::mails::html)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails/templates", "showWordings", "What mails say, in every language", get(ui::admin::wording::list)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails/templates/{kind}/{language}", "showWording", "What a mail says in a language, or a draft of that", get(ui::admin::wording::show)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/mails/templates/{kind}/{language}", "saveWording", "Have a mail say something else", post(ui::admin::wording::save)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/mails/templates/{kind}/{language}/html", "showWordingHtml", "How a draft looks", get(ui::admin::wording::html)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/mails/templates/{kind}/{language}/reset", "resetWording", "Have a mail say what Usher says", post(ui::admin::wording::reset)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/mails/{mailId}/retry", "retryMail", "Send the person of a failed mail a new one", post(ui::admin::mails::retry)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/keys", "showKeys", "The keys", get(ui::admin::keys::list)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/keys", "makeKey", "Make a key; the answer holds it", post(ui::admin::keys::create)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/keys/{keyId}", "showKey", "A key, without the key itself", get(ui::admin::keys::show)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/keys/{keyId}/rotate", "rotateKey", "Make a key's successor; the answer holds it", post(ui::admin::keys::rotate)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/keys/{keyId}/move", "moveKey", "Pin a key to another API date", post(ui::admin::keys::move_to)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/keys/{keyId}/revoke", "revokeKey", "Make a key stop working", post(ui::admin::keys::revoke)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/audit", "showAudit", "The audit trail, by filters", get(ui::admin::audit::list)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/audit/{entryId}", "showEntry", "An entry with what changed", get(ui::admin::audit::show)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/webhooks", "showWebhooks", "The webhooks", get(ui::admin::webhooks::list)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks", "makeWebhook", "Make a webhook; the answer holds its secret", post(ui::admin::webhooks::create)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/webhooks/{webhookId}", "showWebhook", "A webhook with its newest deliveries", get(ui::admin::webhooks::show)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/webhooks/{webhookId}/deliveries/{deliveryId}", "showDelivery", "Every try of a delivery", get(ui::admin::webhooks::delivery)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/test", "testWebhookHere", "Send a test", post(ui::admin::webhooks::test)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/replay", "replayWebhookHere", "Send again", post(ui::admin::webhooks::replay)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/rotate", "rotateWebhookHere", "Make a new secret; the answer holds it", post(ui::admin::webhooks::rotate)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/enable", "enableWebhook", "Send to a webhook again", post(ui::admin::webhooks::enable)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/disable", "disableWebhook", "Send to a webhook no more", post(ui::admin::webhooks::disable)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/webhooks/{webhookId}/remove", "removeWebhookHere", "Remove a webhook", post(ui::admin::webhooks::remove)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/requests", "showRequests", "The newest requests", get(ui::admin::requests::list)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/settings", "showSettings", "The app and this environment of it", get(ui::admin::settings::show)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/app", "saveSettings", "Change the app and this environment of it", post(ui::admin::settings::save)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/test-mail", "sendTestMail", "Send the administrator a test mail", post(ui::admin::settings::test_mail)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/billing/retry", "retryBilling", "Try again what billing gave up", post(ui::admin::settings::retry_billing)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/signing-keys/revoke", "revokeSigningKey", "Make a signing key worthless at once", post(ui::admin::settings::revoke_signing_key)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/redirect-uris", "addRedirectUri", "Let people be sent back to an address", post(ui::admin::settings::add_redirect_uri)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/redirect-uris/remove", "removeRedirectUri", "Take an address away", post(ui::admin::settings::remove_redirect_uri)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/look", "changeLook", "Change the app's name, colour and logo", post(ui::admin::look::change)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/settings/signing-keys", "rotateSigningKey", "Have another key sign tokens", post(ui::admin::settings::rotate_signing_key)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/admins", "showAdmins", "Who may use the dashboard", get(ui::admin::admins::list)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/admins", "inviteAdmin", "Make an administrator, who is sent a link", post(ui::admin::admins::invite)),
        route(Admin,     "GET",  "/admin/{appId}/{environment}/admins/{adminId}", "showAdmin", "An administrator", get(ui::admin::admins::show)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/admins/{adminId}/role", "setAdminRole", "Give an administrator another role", post(ui::admin::admins::set_role)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/admins/{adminId}/send-link", "sendAdminLink", "Send an administrator a link", post(ui::admin::admins::send_link)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/admins/{adminId}/remove", "removeAdmin", "Make somebody an administrator no longer", post(ui::admin::admins::remove)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/audit/verify", "verifyAudit", "Find out whether the trail is as it was written", post(ui::admin::audit::verify)),
        route(Admin,     "POST", "/admin/{appId}/{environment}/audit/export", "exportAudit", "Entries as JSON lines", post(ui::admin::audit::export)),

        route(Service,   "GET",  "/.well-known/openid-configuration", "getConfiguration", "What an OpenID Connect client needs to know",     get(oauth::configuration)),
        route(Service,   "GET",  "/.well-known/jwks.json",       "getKeySet",        "The keys that verify tokens, as a JSON Web Key Set",     get(directory::apps::jwks)),
        route(Service,   "GET",  "/sandbox/.well-known/openid-configuration", "getSandboxConfiguration", "The same of the sandbox",    get(oauth::sandbox_configuration)),
        route(Service,   "GET",  "/sandbox/.well-known/jwks.json", "getSandboxKeySet", "The same of the sandbox",                            get(directory::apps::sandbox_jwks)),
        route(Service,   "POST", "/webhooks/stripe/{account}",   "takeStripeEvent",  "What Stripe tells of customers that were deleted there", post(service::stripe)),
        route(Service,   "GET",  "/favicon.ico",                 "icon",             "The icon of what is no page",                            get(ui::assets::icon)),
        route(Service,   "GET",  "/openapi",                     "listDocuments",    "The OpenAPI documents",                                  get(openapi::list)),
        route(Service,   "GET",  "/openapi/partner/{date}",      "partnerDocument",  "The partner API of one date",                            get(openapi::partner)),
        route(Service,   "GET",  "/openapi/directory.json",      "directoryDocument","The directory API",                                      get(openapi::directory)),
        route(Service,   "GET",  "/openapi/sign-in.json",        "signInDocument",   "The doors by which apps sign people in",                 get(oauth::document::show)),
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
    let mut open = Router::new();
    for route in routes() {
        let handler = match route.surface {
            Surface::Extended => route.handler.route_layer(middleware::map_response(extended)),
            _ => route.handler,
        };
        if route.path.starts_with("/v1/") {
            open = open.route(&format!("/api{}", route.path), handler.clone());
        }
        let is_open = matches!(route.surface, Surface::Directory | Surface::Extended | Surface::OAuth);
        if is_open || route.path.contains("/.well-known/") {
            open = open.route(route.path, handler);
        } else {
            router = router.route(route.path, handler);
        }
    }
    for path in OUT_OF_SCOPE {
        let refuse = any(|| async { Error::OutOfScope });
        open = open.route(path, refuse.clone()).route(&format!("/api{path}"), refuse);
    }
    // The layer must be around the 405 too, or a browser's preflight would meet that instead.
    router.merge(open.method_not_allowed_fallback(method_not_allowed).layer(cors()))
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

/// Browsers may call the directory API and the doors of OpenID Connect from any origin, with tokens and without cookies (contract item 59).
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
