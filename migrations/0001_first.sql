-- One SQL text for SQLite and PostgreSQL. Times are milliseconds since 1970 in UTC.

CREATE TABLE apps (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    -- ISO 3166 region in which a phone number without a country code is read.
    region TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- The unit of isolation: sandbox and live of one app. No row belongs to two.
CREATE TABLE environments (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    kind TEXT NOT NULL,
    issuer TEXT NOT NULL,
    redirect_url TEXT,
    UNIQUE (app_id, kind)
);

CREATE TABLE tenants (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (environment_id, name)
);

CREATE TABLE keys (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    tenant_id UUID REFERENCES tenants (id),
    access TEXT NOT NULL,
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    api_version TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);

-- What grows with the users does not reference its environment: environments are never removed, and PostgreSQL would
-- lock that one row, which all writers share, for every row that is added.
CREATE TABLE users (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    tenant_id UUID REFERENCES tenants (id),
    -- As sent, and as compared.
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    email_verified_at BIGINT,
    phone TEXT,
    phone_key TEXT,
    -- The OpenID claims, JSON.
    profile TEXT NOT NULL,
    -- Health fields, programme and metadata: one sealed JSON object.
    health BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    frozen_at BIGINT,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX users_email_key ON users (environment_id, email_key);
CREATE INDEX users_newest ON users (environment_id, created_at);
CREATE UNIQUE INDEX users_phone_key ON users (environment_id, phone_key);

-- Single-use secrets that lead a person in: magic links, and the codes an app is sent after one.
CREATE TABLE links (
    -- A ticket's: its id, and the hash of its random part.
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    purpose TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    superseded_at BIGINT
);
CREATE INDEX links_user ON links (user_id, created_at);

CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    -- RSA: PKCS#8 sealed, and SubjectPublicKeyInfo as it is.
    private_key BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX signing_keys_environment ON signing_keys (environment_id, created_at);

-- Side effects to come, written with the change that causes them.
CREATE TABLE outbox (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
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
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_recent ON outbox (created_at);
CREATE INDEX outbox_user ON outbox (user_id);
