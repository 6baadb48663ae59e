-- What of a user's waits for an older one, by which it is looked for: not among all that is done.
CREATE INDEX outbox_in_order ON outbox (user_id, id) WHERE kind = 'billing' AND due_at IS NOT NULL;
