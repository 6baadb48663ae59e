-- Administrators of the installation: who may use the dashboard.
CREATE TABLE admins (
    id UUID PRIMARY KEY,
    -- As typed, and as compared.
    email TEXT NOT NULL,
    email_key TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    -- The row stays, for the audit trail names it.
    removed_at BIGINT
);

-- What lets an administrator in: a set-up address, a link, a session.
CREATE TABLE admin_tickets (
    -- A ticket's: its id, and the hash of its random part.
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    purpose TEXT NOT NULL,
    -- Nobody's: the set-up address, by which the first one is made.
    admin_id UUID REFERENCES admins (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- When a session was last used, to the minute.
    seen_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX admin_tickets_admin ON admin_tickets (admin_id, created_at);
