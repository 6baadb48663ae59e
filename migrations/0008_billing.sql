-- The Stripe accounts whose customers the users of an environment are.
CREATE TABLE billing_accounts (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    -- `test` or `live`.
    mode TEXT NOT NULL,
    -- Sealed JSON: the secret key, the webhook's secret, the address.
    settings BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (environment_id, mode)
);

-- Who a user is at Stripe. No reference: the row goes when the user is gone there too.
CREATE TABLE billing_customers (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    user_id UUID NOT NULL,
    mode TEXT NOT NULL,
    customer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (user_id, mode)
);
CREATE INDEX billing_customers_customer ON billing_customers (customer);

-- A job may outlive its user, as that of an erasure does, so it refers to none any more. SQLite has no other way.
CREATE TABLE outbox_2 (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    -- Sealed JSON.
    payload BYTEA NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it is due; NULL once nothing more will be tried.
    due_at BIGINT,
    leased_until BIGINT,
    finished_at BIGINT,
    -- The other side's words for the last failure.
    failure TEXT
);
INSERT INTO outbox_2 (id, environment_id, user_id, kind, payload, state, attempts, created_at, due_at, leased_until, finished_at, failure)
    SELECT id, environment_id, user_id, kind, payload, state, attempts, created_at, due_at, leased_until, finished_at, failure FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_2 RENAME TO outbox;
CREATE INDEX outbox_due ON outbox (kind, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_recent ON outbox (created_at);
CREATE INDEX outbox_user ON outbox (user_id);
