-- People who were taken over from a file: what became of each row, and what can be undone.
CREATE TABLE imports (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    -- Where all of them went, unless their rows say.
    tenant_id UUID REFERENCES tenants (id),
    -- `key`, `person`, `admin` or `operator`, and the id of all but the last.
    actor TEXT NOT NULL,
    actor_id UUID,
    -- Keyed hash of the file and of how it is read: the same again goes on where it stopped.
    fingerprint BYTEA NOT NULL,
    -- How the file is read: JSON, nothing personal but what its columns are called.
    settings TEXT NOT NULL,
    -- The file, sealed, until it is done; NULL if it is read elsewhere.
    source BYTEA,
    state TEXT NOT NULL,
    total BIGINT NOT NULL,
    -- How many rows were read, and what became of them.
    place BIGINT NOT NULL DEFAULT 0,
    imported BIGINT NOT NULL DEFAULT 0,
    duplicates BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    -- Up to which row it was undone; how many users were erased, and how many were not.
    undone BIGINT NOT NULL DEFAULT 0,
    removed BIGINT NOT NULL DEFAULT 0,
    kept BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- When a server goes on with it, or its lease ends; NULL if none is to.
    due_at BIGINT
);
CREATE INDEX imports_recent ON imports (environment_id, created_at);
CREATE INDEX imports_due ON imports (due_at) WHERE due_at IS NOT NULL;

-- What became of some rows of one import.
CREATE TABLE import_pages (
    id UUID PRIMARY KEY,
    import_id UUID NOT NULL REFERENCES imports (id),
    first_row BIGINT NOT NULL,
    last_row BIGINT NOT NULL,
    -- JSON: ids of users, and names of fields that were wrong; nothing else about a person.
    outcomes TEXT NOT NULL,
    UNIQUE (import_id, last_row)
);
