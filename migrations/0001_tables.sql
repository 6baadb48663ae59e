-- One SQL text for SQLite and PostgreSQL. Times are milliseconds since 1970 in UTC.

-- Apps, and what belongs to them.

CREATE TABLE apps (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    -- ISO 3166 region in which a phone number without a country code is read.
    region TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- How it looks to people. `#rrggbb`.
    color TEXT,
    -- The file name of the logo, made from what is in it, and the file: PNG or JPEG.
    logo TEXT,
    logo_bytes BYTEA,
    -- The tag of the language in which people are written to whose own is not known.
    language TEXT
);

-- The unit of isolation: sandbox and live of one app. No row belongs to two.
CREATE TABLE environments (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    kind TEXT NOT NULL,
    issuer TEXT NOT NULL,
    redirect_url TEXT,
    -- Whether people may register themselves.
    sign_up TEXT NOT NULL DEFAULT 'closed',
    UNIQUE (app_id, kind)
);

CREATE TABLE tenants (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- What it says of itself besides its name: JSON.
    profile TEXT NOT NULL DEFAULT '{}',
    -- Who made it by signing up: then it is about them. NULL for an organisation's.
    founder_id UUID,
    -- Since when it has a name that it was given from within: by somebody who belongs to it, or by a key bound to it. NULL if the app
    -- or the operator named it.
    self_named_at BIGINT,
    UNIQUE (environment_id, name)
);
-- The organisations of an environment, beside any number of people who have registered themselves.
CREATE INDEX tenants_organisations ON tenants (environment_id, created_at, id) WHERE founder_id IS NULL;

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
    last_used_at BIGINT,
    -- The last call to an older date of the partner API than the newest of then: which, and when.
    older_version TEXT,
    older_version_at BIGINT,
    -- When it stops because another has taken its place: apart from its own end, for which the other lives.
    retires_at BIGINT
);

-- Where people may be sent back to after signing in: compared character by character. The environment is known by it.
CREATE TABLE redirect_uris (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    environment_id UUID NOT NULL REFERENCES environments (id),
    uri TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (app_id, uri)
);

-- What an app says in a kind of mail and a language in place of the words that Usher has.
CREATE TABLE mail_words (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    kind TEXT NOT NULL,
    language TEXT NOT NULL,
    -- JSON: the name of a text, and what it says.
    texts TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    UNIQUE (app_id, kind, language)
);

-- What a person may do to others of their tenant, beyond the two roles that every environment has.
CREATE TABLE roles (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    name TEXT NOT NULL,
    -- Words with spaces between.
    rights TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (environment_id, name)
);

CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    -- RSA: PKCS#8 sealed, and SubjectPublicKeyInfo as it is.
    private_key BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- A new key is shown before it signs, and one that no longer signs verifies for a while.
    active_at BIGINT NOT NULL DEFAULT 0,
    retires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX signing_keys_environment ON signing_keys (environment_id, created_at);

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
    removed_at BIGINT,
    -- The tag of the language that their browser asked for when they last signed in.
    language TEXT
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

-- People. What grows with them does not reference its environment: environments are never removed, and PostgreSQL would
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
    deleted_at BIGINT,
    -- Counts the changes: the ETag.
    version BIGINT NOT NULL DEFAULT 1,
    -- No reference: two roles have no row.
    role_id UUID,
    -- The app's own name for the user.
    external_id TEXT
);
CREATE UNIQUE INDEX users_email_key ON users (environment_id, email_key);
CREATE UNIQUE INDEX users_phone_key ON users (environment_id, phone_key);
CREATE UNIQUE INDEX users_external_id ON users (environment_id, external_id) WHERE external_id IS NOT NULL;
-- Lists, by time of change too, and of one tenant.
CREATE INDEX users_newest ON users (environment_id, created_at);
CREATE INDEX users_changed ON users (environment_id, updated_at);
CREATE INDEX users_of_tenant ON users (tenant_id, created_at) WHERE tenant_id IS NOT NULL;
CREATE INDEX users_of_tenant_changed ON users (tenant_id, updated_at) WHERE tenant_id IS NOT NULL;
-- The same for the few who are frozen or deleted, who would have to be sought among all others.
CREATE INDEX users_frozen ON users (environment_id, created_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_changed ON users (environment_id, updated_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_of_tenant ON users (tenant_id, created_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_of_tenant_changed ON users (tenant_id, updated_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_deleted ON users (environment_id, created_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_changed ON users (environment_id, updated_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_of_tenant ON users (tenant_id, created_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_of_tenant_changed ON users (tenant_id, updated_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_to_erase ON users (deleted_at) WHERE deleted_at IS NOT NULL;

-- What a subscription does next by itself, and when: it resumes after a pause, or ends.
CREATE TABLE subscription_turns (
    user_id UUID PRIMARY KEY,
    -- A word of the audit trail.
    action TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX subscription_turns_due ON subscription_turns (due_at);

-- That somebody was erased: nothing about who it was but the id.
CREATE TABLE erasures (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    user_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    -- How many rows of which table: JSON.
    counts TEXT NOT NULL
);

-- How a person comes in.

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
    closed_at BIGINT,
    -- Since when its mail leads nowhere any more. Its page does not say so: it would tell that somebody had the address.
    void_at BIGINT
);
CREATE INDEX sign_ins_undecided ON sign_ins (created_at) WHERE decided_at IS NULL;
CREATE INDEX sign_ins_sent ON sign_ins (environment_id, sent_at) WHERE sent_at IS NOT NULL;
-- An erasure finds the sign-ins of an address by this, sent or not. The table holds those of a day.
CREATE INDEX sign_ins_address ON sign_ins (address, sent_at);
CREATE INDEX sign_ins_user ON sign_ins (user_id) WHERE user_id IS NOT NULL;

-- A session is one sign-in: a browser's cookie at Usher, and the app's refresh tokens. Of these only the newest's number
-- is kept; they are made of it with the data key.
CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    hash BYTEA NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    generation BIGINT NOT NULL DEFAULT 0,
    refreshed_at BIGINT,
    -- What the app may know of the person, words with spaces between.
    scope TEXT NOT NULL DEFAULT '',
    -- The user's, so that those of one environment are found by themselves.
    environment_id UUID
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_environment ON sessions (environment_id, id);

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
CREATE INDEX codes_session ON codes (session_id);

-- How often something was done: by a keyed hash of what and who.
CREATE TABLE limits (
    mark BYTEA PRIMARY KEY,
    since BIGINT NOT NULL,
    used BIGINT NOT NULL
);
-- What no longer limits is removed by its age, which grows: a new entry goes to the end of the index.
CREATE INDEX limits_age ON limits (since);

-- What a write leaves besides its row.

-- What a request was answered with, for when it is sent again.
CREATE TABLE idempotency (
    -- Hash of environment, key or person, method and path, and the caller's idempotency key.
    owner BYTEA PRIMARY KEY,
    environment_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    -- Sealed.
    answer BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    -- Whose data the answer holds.
    user_id UUID
);
CREATE INDEX idempotency_age ON idempotency (created_at);
CREATE INDEX idempotency_user ON idempotency (user_id) WHERE user_id IS NOT NULL;

-- Side effects to come, written with the change that causes them. A job may outlive its user, as that of an erasure does, so it
-- references none.
CREATE TABLE outbox (
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
    failure TEXT,
    -- Counts the answers that the other side would repeat to the same request: what follows is asked as something new.
    round BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX outbox_due ON outbox (kind, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_recent ON outbox (created_at);
-- The mail that has waited longest is found at once, however many wait.
CREATE INDEX outbox_waits ON outbox (kind, created_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_user ON outbox (user_id);
CREATE INDEX outbox_failed ON outbox (kind, created_at) WHERE state = 'failed';

-- The audit trail: what was done, and what was refused; what it holds is chained. Entries and seals are only ever added; the one
-- change there is empties `changes` when a person is erased.
CREATE TABLE audit (
    -- Of UUID version 7: in the order of time, and of one program in the order of writing.
    id UUID PRIMARY KEY,
    -- All zeros for what belongs to no environment.
    environment_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    -- What was done or asked for.
    action TEXT NOT NULL,
    -- The method and the route of a refused request, as in `PUT /v1/users/{userId}`.
    operation TEXT,
    -- `key`, `person`, `operator` or `unknown`, and the id of the first two.
    actor TEXT NOT NULL,
    actor_id UUID,
    -- No reference: the entry outlives the user.
    user_id UUID,
    -- What it is about, if not a user: a key, say. Of a refused request, the UUID in its path, as the caller sent it.
    target UUID,
    -- `done`, or the code of the error.
    result TEXT NOT NULL,
    -- For how many attempts it stands.
    times BIGINT NOT NULL,
    request_id UUID,
    api_date TEXT,
    -- SHA-256 of `changes` as they were written.
    changes_hash BYTEA,
    -- Sealed JSON. NULL if there is none, or it was erased.
    changes BYTEA,
    -- HMAC under the data key of everything but `changes`.
    proof BYTEA
);
CREATE INDEX audit_user ON audit (user_id, created_at);

-- The chain: each seal holds the digests of the entries that came since the one before, and the hash of that one.
CREATE TABLE audit_seals (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    -- Counted from one in each environment. Of two servers that seal at once, the index lets one.
    number BIGINT NOT NULL,
    sealed_at BIGINT NOT NULL,
    -- The newest of its entries.
    last_id UUID NOT NULL,
    -- For each entry its id (16 bytes) and its digest (32).
    entries BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    -- HMAC of `hash` under the data key.
    proof BYTEA NOT NULL,
    -- The oldest of its entries: with the newest it tells, without reading the list, whether an entry may be there. NULL in seals
    -- of builds before the first release.
    first_id UUID
);
CREATE UNIQUE INDEX audit_seals_number ON audit_seals (environment_id, number);
CREATE INDEX audit_seals_span ON audit_seals (last_id, first_id);
CREATE INDEX audit_seals_first ON audit_seals (first_id);

-- Webhooks.

-- Where other systems hear of changes.
CREATE TABLE endpoints (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    -- Hears of this tenant's users only.
    tenant_id UUID REFERENCES tenants (id),
    name TEXT NOT NULL,
    -- Sealed JSON: the address and the keys that sign.
    settings BYTEA NOT NULL,
    -- The kinds of events, separated by spaces; all of them if empty.
    events TEXT NOT NULL,
    api_version TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    disabled_because TEXT
);
CREATE INDEX endpoints_environment ON endpoints (environment_id, created_at);

-- An event on its way to one endpoint. No references: a row is added for every change of a user.
CREATE TABLE deliveries (
    -- Of UUID version 7: in the order of time.
    id UUID PRIMARY KEY,
    endpoint_id UUID NOT NULL,
    event_id UUID NOT NULL,
    kind TEXT NOT NULL,
    -- Whose events keep their order, and the place in it: the version of the user.
    user_id UUID,
    place BIGINT NOT NULL,
    -- JSON: ids and names, nothing personal.
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    -- When it is due, or its lease ends; NULL once nothing more will be tried.
    due_at BIGINT,
    finished_at BIGINT,
    failure TEXT,
    -- When it was last asked for again.
    replayed_at BIGINT
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_unfinished ON deliveries (user_id, endpoint_id, place, id) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_recent ON deliveries (endpoint_id, created_at);
CREATE INDEX deliveries_user ON deliveries (user_id);

CREATE TABLE delivery_attempts (
    -- Of UUID version 7: in the order of time.
    id UUID PRIMARY KEY,
    delivery_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    -- HTTP; NULL if there was no answer.
    status BIGINT,
    millis BIGINT NOT NULL,
    -- The first words of the answer, or why there was none.
    words TEXT NOT NULL
);
CREATE INDEX delivery_attempts_delivery ON delivery_attempts (delivery_id);

-- Billing.

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

-- Imports.

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

-- The file of an import that a server reads, sealed, until it is done: apart from what changes with every few rows.
CREATE TABLE import_files (
    import_id UUID PRIMARY KEY REFERENCES imports (id),
    sealed BYTEA NOT NULL
);

-- Keyed hashes of what was unique about those who were erased while an import has rows to come: a row each, so that noting one, and
-- asking for those of some rows, costs the same however many there are.
CREATE TABLE import_erased (
    id UUID PRIMARY KEY,
    import_id UUID NOT NULL REFERENCES imports (id),
    hash BYTEA NOT NULL,
    UNIQUE (import_id, hash)
);

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
