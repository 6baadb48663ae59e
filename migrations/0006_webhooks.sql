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
    failure TEXT
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_unfinished ON deliveries (user_id, endpoint_id, place, id) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_recent ON deliveries (endpoint_id, created_at);

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
