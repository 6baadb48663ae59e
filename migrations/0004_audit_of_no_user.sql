-- What was done or refused and is about no user, but for attempts of callers whom nobody knows: so that any number of those hides
-- nothing that was done to the installation. What is done to users has no row in it.
CREATE INDEX audit_of_no_user ON audit (environment_id, created_at, id) WHERE user_id IS NULL AND actor <> 'unknown';
