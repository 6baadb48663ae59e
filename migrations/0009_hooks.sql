-- Counts the answers that the other side would repeat to the same request: what follows is asked as something new.
ALTER TABLE outbox ADD COLUMN round BIGINT NOT NULL DEFAULT 0;
CREATE INDEX outbox_failed ON outbox (kind, created_at) WHERE state = 'failed';

-- When a delivery was last asked for again.
ALTER TABLE deliveries ADD COLUMN replayed_at BIGINT;

-- What a subscription does next by itself, and when: it resumes after a pause, or ends.
CREATE TABLE subscription_turns (
    user_id UUID PRIMARY KEY,
    -- A word of the audit trail.
    action TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL
);
CREATE INDEX subscription_turns_due ON subscription_turns (due_at);
