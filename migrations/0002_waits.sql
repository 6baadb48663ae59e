-- The mail that has waited longest is found at once, however many wait.
CREATE INDEX outbox_waits ON outbox (kind, created_at) WHERE due_at IS NOT NULL;
-- The organisations of an environment, beside any number of people who have registered themselves.
CREATE INDEX tenants_organisations ON tenants (environment_id, created_at, id) WHERE founder_id IS NULL;
