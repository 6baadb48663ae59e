-- Where people may be sent back to after signing in: compared character by character. The environment is known by it.
CREATE TABLE redirect_uris (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    environment_id UUID NOT NULL REFERENCES environments (id),
    uri TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (app_id, uri)
);

-- A session is one sign-in: a browser's cookie at Usher, and the app's refresh tokens. Of these only the newest's number
-- is kept; they are made of it with the data key.
ALTER TABLE sessions ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN refreshed_at BIGINT;
-- What the app may know of the person, words with spaces between.
ALTER TABLE sessions ADD COLUMN scope TEXT NOT NULL DEFAULT '';

-- One-time codes that an app exchanges for tokens.
CREATE TABLE codes (
    -- A ticket's.
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    -- No reference: a code is of no use without its session, and gone in a day.
    session_id UUID NOT NULL,
    -- What the app asked for, JSON.
    request TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

-- Somebody has named an address and wants to sign in by it. The row is the same whether the address is known or not;
-- whether a mail goes out is decided later.
CREATE TABLE sign_ins (
    -- A ticket's: the browser that asked.
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    environment_id UUID NOT NULL,
    -- Keyed hashes, to count by.
    address BYTEA NOT NULL,
    network BYTEA,
    -- Sealed JSON: the address, and what the app asked for.
    request BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    decided_at BIGINT,
    -- When the mail was written, and to whom; never, if nobody has the address or it had too many.
    sent_at BIGINT,
    user_id UUID,
    -- When it was used up, or a newer one of the browser took its place.
    closed_at BIGINT
);
CREATE INDEX sign_ins_undecided ON sign_ins (created_at) WHERE decided_at IS NULL;
CREATE INDEX sign_ins_sent ON sign_ins (environment_id, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX sign_ins_address ON sign_ins (address, sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX sign_ins_network ON sign_ins (network, created_at);

-- A new key is shown before it signs, and one that no longer signs verifies for a while.
ALTER TABLE signing_keys ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN retires_at BIGINT;
ALTER TABLE signing_keys ADD COLUMN revoked_at BIGINT;
