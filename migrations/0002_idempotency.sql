-- What a request was answered with, for when it is sent again.
CREATE TABLE idempotency (
    -- Hash of environment, key or person, method and path, and the caller's idempotency key.
    owner BYTEA PRIMARY KEY,
    environment_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    -- Sealed.
    answer BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Counts the changes of a user: the ETag.
ALTER TABLE users ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
