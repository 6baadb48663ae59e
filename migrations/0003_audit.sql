-- What was done to whom, by whom: written in the transaction that did it.
CREATE TABLE audit (
    -- Of UUID version 7: in the order of time.
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    action TEXT NOT NULL,
    -- `key`, `person` or `operator`, and the id of the first two.
    actor TEXT NOT NULL,
    actor_id UUID,
    -- No reference: the entry outlives the user.
    user_id UUID NOT NULL,
    request_id UUID,
    -- Sealed JSON.
    changes BYTEA NOT NULL
);
CREATE INDEX audit_user ON audit (user_id, created_at);
