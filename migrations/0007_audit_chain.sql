-- The audit trail holds refused attempts too, and what is not about a user; what it holds is chained. Entries and seals
-- are only ever added; the one change there is empties `changes` when a person is erased.
-- No released version has written entries of the shape before, which nobody could prove.
DROP TABLE audit;
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
    proof BYTEA NOT NULL
);
CREATE UNIQUE INDEX audit_seals_number ON audit_seals (environment_id, number);
CREATE INDEX audit_seals_last ON audit_seals (last_id);
