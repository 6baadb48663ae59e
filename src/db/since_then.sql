-- What tables of before the first release lack of those that the first migration makes at once. An import that noted who was
-- erased elsewhere ends, so that nobody comes back by it.
CREATE INDEX tenants_organisations ON tenants (environment_id, created_at, id) WHERE founder_id IS NULL;
CREATE INDEX outbox_waits ON outbox (kind, created_at) WHERE due_at IS NOT NULL;
CREATE TABLE import_erased (
    id UUID PRIMARY KEY, import_id UUID NOT NULL REFERENCES imports (id), hash BYTEA NOT NULL, UNIQUE (import_id, hash)
);
DELETE FROM import_files WHERE import_id IN (SELECT id FROM imports WHERE erased IS NOT NULL);
UPDATE imports SET state = 'broken', due_at = NULL, finished_at = created_at WHERE erased IS NOT NULL;
ALTER TABLE imports DROP COLUMN erased;
