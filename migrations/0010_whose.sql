-- Whose sign-in a session is, so that those of one environment are found by themselves.
ALTER TABLE sessions ADD COLUMN environment_id UUID;
UPDATE sessions SET environment_id = (SELECT u.environment_id FROM users u WHERE u.id = sessions.user_id);
CREATE INDEX sessions_environment ON sessions (environment_id, id);

-- What leads to a user over another row, for an erasure and an export.
CREATE INDEX codes_session ON codes (session_id);
CREATE INDEX deliveries_user ON deliveries (user_id);
