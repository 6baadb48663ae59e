//! One test binary. Tests read like sentences; [`harness`] has the app they talk to, [`client`] who talks to it, [`folder`] its
//! data, [`cluster`] the engine, [`program`] the real binary, [`mailserver`] a mail server, [`receiver`] the other end of a
//! webhook, [`stripe`] Stripe, [`world`] everyone who may ask about whom, [`tables`] what is stored.

#![allow(
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "tests time the program from outside, and a table of cases is as long as it is"
)]

mod before_the_first;
mod client;
mod cluster;
mod folder;
mod harness;
mod load;
mod mailserver;
mod program;
mod reading;
mod receiver;
mod stripe;
mod tables;
mod world;

mod address_changed;
mod admin_pages;
mod admin_policy;
mod admins;
mod analytics;
mod audit;
mod backup;
mod billing;
mod billing_accounts;
mod billing_erasure;
mod billing_faults;
mod billing_peers;
mod brand;
mod buttons;
mod chain;
mod cli;
mod commands_refused;
mod conflicts;
mod copy;
mod crash;
mod crowd;
mod dashboard;
mod directory;
mod docs;
mod doctor;
mod documents;
mod dump;
mod erasure;
mod etag;
mod fields;
mod house;
mod idempotency;
mod idempotency_kill;
mod imports;
mod imports_api;
mod imports_end;
mod imports_page;
mod issuer;
mod keys;
mod languages;
mod life;
mod lines;
mod links;
mod lists;
mod long_trail;
mod newest_link;
mod outside;
mod packaging;
mod partner;
mod people_table;
mod policy;
mod privacy;
mod privileged;
mod public_url;
mod reference;
mod requests_page;
mod restore;
mod retries;
mod revocation;
mod roles_see;
mod sealed_backup;
mod sessions;
mod settings_limits;
mod several;
mod sign_in_limits;
mod sign_out;
mod sign_up;
mod signin;
mod signing_keys;
mod slow_bodies;
mod smtp;
mod snippets;
mod subscriptions;
mod tenants;
mod timing;
mod tls;
mod tokens;
mod tokens_foreign;
mod tokens_forged;
mod trail;
mod transport;
mod unfinished;
mod versions;
mod webhook_api;
mod webhook_events;
mod webhook_peers;
mod webhook_reach;
mod webhook_replay;
mod webhooks;
mod withdrawn;
mod wording;
