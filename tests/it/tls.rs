//! TLS to PostgreSQL: a server that proves itself, one that cannot, and one that has none.

use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::json;

use crate::cluster::{self, Cluster, on_postgres};
use crate::copy::{errors, usher_on};
use crate::harness::{Folder, jane, skip};
use crate::program::Program;

/// A cluster with a certificate for localhost and 127.0.0.1.
fn secured() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    if !on_postgres() {
        return None;
    }
    if Command::new("openssl").arg("version").output().is_err() {
        skip("TLS to PostgreSQL", "there is no openssl");
        return None;
    }
    CLUSTER.get_or_init(|| Cluster::start(&["--tls"])).as_ref()
}

impl Cluster {
    /// The URL of a new database, with a password, which this server does not ask for.
    fn new_database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        format!("{}/{name}", self.url.replace("usher@", "usher:hunter2@"))
    }

    fn authority(&self) -> String {
        self.folder.join("ca.crt").display().to_string()
    }

    /// How many connections of Usher's a database has, with TLS and without.
    fn connections(&self, database: &str) -> (usize, usize) {
        let sql = "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                   WHERE a.application_name = 'usher' AND a.datname = current_database()";
        let found = self.sql(database, sql);
        let count = |word: &str| found.lines().filter(|line| *line == word).count();
        (count("t"), count("f"))
    }
}

/// A command that must fail, say why, and not say the password.
#[track_caller]
fn refused(output: &Output, words: &str) {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_server_whose_certificate_is_trusted_is_spoken_to_in_tls_and_disable_does_without() {
    let Some(cluster) = secured() else { return };
    let authority = cluster.authority();
    for (name, mode, encrypted) in
        [("required", "?sslmode=require", true), ("offered", "", true), ("disabled", "?sslmode=disable", false)]
    {
        for (suffix, host) in [("by_number", "127.0.0.1"), ("by_name", "localhost")] {
            let name = format!("{name}_{suffix}");
            let url = format!("{}{mode}", cluster.new_database(&name).replace("127.0.0.1", host));
            let trusted = [("USHER_DATABASE", url.as_str()), ("SSL_CERT_FILE", &authority)];
            let server = Program::start_with(Folder::new(), &trusted, &[]);
            assert_eq!(server.enrol(&jane()).0, 200, "{url}");
            assert_eq!(server.call("POST", "/users/update", &json!({"email": "jane@doe.com"})).0, 200);
            let (with, without) = cluster.connections(&name);
            assert!(with + without > 0, "{url}: there are connections");
            assert_eq!((with > 0, without > 0), (encrypted, !encrypted), "{url}: {with} with TLS, {without} without");
        }
    }
}

#[test]
fn a_server_whose_certificate_is_not_trusted_or_for_another_name_is_refused_with_the_reason() {
    let Some(cluster) = secured() else { return };
    let (folder, url) = (Folder::new(), cluster.new_database("untrusted"));
    let required = format!("{url}?sslmode=require");
    for url in [&url, &required] {
        for command in
            [vec!["serve", "--listen", "192.0.2.1:1"], vec!["user", "list"], vec!["copy", "--to", "sqlite:x"]]
        {
            let output = usher_on(&folder, url).args(&command).output().unwrap();
            refused(&output, "invalid peer certificate: UnknownIssuer");
        }
    }
    let elsewhere = required.replace("127.0.0.1", "db.example.com").replace('?', "?hostaddr=127.0.0.1&");
    let mut command = usher_on(&folder, &elsewhere);
    refused(
        &command.args(["user", "list"]).env("SSL_CERT_FILE", cluster.authority()).output().unwrap(),
        "not valid for name",
    );
    assert_eq!(cluster.sql("untrusted", "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let plain = folder.database().unwrap().replace("usher@", "usher:hunter2@");
    let output =
        usher_on(&folder, &format!("{plain}?sslmode=require")).args(["app", "create", "Acme"]).output().unwrap();
    refused(&output, "server does not support TLS");
    let name = plain.rsplit('/').next().unwrap();
    let tables = cluster::shared().sql(name, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables, "0", "nothing was made");
    for mode in ["", "?sslmode=prefer", "?sslmode=disable"] {
        let output = usher_on(&folder, &format!("{plain}{mode}")).args(["app", "create", "Acme"]).output().unwrap();
        assert!(output.status.success(), "{mode}: {}", errors(&output));
    }
}
