//! What must hold when something breaks. The real program, over real sockets, on both engines; each case is a number of
//! the list that docs/RELIABILITY.md explains. `just faults` runs the short form, as `cargo test` does, `just faults
//! long` the long one.

#![allow(
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "these tests time the program from outside, and a case is as long as it is"
)]

#[path = "../it/before_the_first.rs"]
mod before_the_first;
#[path = "../it/client.rs"]
#[allow(dead_code, reason = "shared with tests/it")]
mod client;
#[path = "../it/cluster.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "shared with tests/it")]
mod cluster;
#[path = "../it/folder.rs"]
#[allow(dead_code, reason = "shared with tests/it")]
mod folder;
#[path = "../it/harness.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests/it")]
mod harness;
#[path = "../it/program.rs"]
#[allow(dead_code, reason = "shared with tests/it")]
mod program;

mod case;
mod disk;
mod ledger;
mod sink;
mod site;
mod wire;

mod crash;
mod files;
mod mail;
mod once;
mod person;
mod stop;
mod storage;
mod upgrade;

macro_rules! cases {
    ($($name:ident: $file:ident::$body:ident on $($engine:ident)+;)+) => {$(
        mod $name {$(
            #[test]
            fn $engine() {
                crate::case::run(stringify!($name), stringify!($engine), crate::$file::$body);
            }
        )+}
    )+};
}

cases! {
    a1_nothing_acknowledged_is_lost_over_sigkills: crash::sigkills on sqlite postgres;
    a2_nothing_acknowledged_is_lost_over_power_cuts: crash::power_cuts on sqlite;
    a3_a_full_disk_refuses_writes_and_recovers: storage::full on sqlite;
    a4_after_a_failed_write_or_fsync_nothing_is_acknowledged: storage::failing on sqlite;
    a9_a_client_that_hangs_up_leaves_all_or_nothing: crash::hang_ups on sqlite postgres;
    a11_sigterm_finishes_what_is_under_way: stop::sigterm on sqlite postgres;
    a12_a_database_that_is_away_is_503_and_comes_back: stop::database_away on postgres;
    b1_one_of_simultaneous_creates_succeeds: once::creates on sqlite postgres;
    b2_identical_requests_run_once: once::identical on sqlite postgres;
    b3_a_key_serves_one_payload_in_any_spelling: once::other_payloads on sqlite postgres;
    b4_a_key_is_its_owners_alone: once::other_owners on sqlite postgres;
    b7_no_simultaneous_change_is_lost: person::changes on sqlite postgres;
    c1_every_enrolled_person_has_a_mail_whenever_workers_die: mail::dying_worker on sqlite postgres;
    c2_no_mail_is_leased_twice: mail::workers on sqlite postgres;
    d2_one_link_lets_one_in: person::followers on sqlite postgres;
    k1_a_backup_under_load_has_all_that_was_acknowledged: files::backup on sqlite postgres;
    k2_what_is_no_backup_is_refused: files::refused_restores on sqlite;
    k4_many_first_starts_make_one_installation: files::first_starts on sqlite postgres;
    k4_an_upgrade_killed_at_any_step_leaves_the_old_schema_or_the_new: upgrade::killed on sqlite postgres;
}
