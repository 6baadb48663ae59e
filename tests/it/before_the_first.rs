//! Databases as builds before the first release left them.

/// What makes one of a fresh one. An import waits for each key, and has noted who was erased as it was noted then.
pub const AS_THEN: &[&str] = &[
    "DELETE FROM migrations",
    "INSERT INTO migrations (version, name, applied_at) VALUES (1, '0001_first', 0)",
    "INSERT INTO migrations (version, name, applied_at) VALUES (23, '0023_replaced_keys', 0)",
    "DROP INDEX tenants_organisations",
    "DROP INDEX tenants_newest",
    "DROP INDEX outbox_in_order",
    "DROP INDEX outbox_waits",
    "CREATE INDEX sign_ins_sent ON sign_ins (environment_id, sent_at) WHERE sent_at IS NOT NULL",
    "DROP TABLE import_erased",
    "ALTER TABLE imports ADD COLUMN erased TEXT",
    "INSERT INTO imports (id, environment_id, actor, fingerprint, settings, state, total, created_at, due_at, erased) \
         SELECT id, environment_id, 'operator', hash, '{}', 'running', 1, 0, 0, '[]' FROM keys",
    "INSERT INTO import_files (import_id, sealed) SELECT id, hash FROM keys",
    "DROP TABLE key_calls",
    "DROP INDEX audit_of_no_user",
    "UPDATE keys SET older_version = '2023-08-22', older_version_at = 1",
];
