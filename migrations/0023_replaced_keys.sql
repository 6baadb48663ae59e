-- When an API key stops that another has taken the place of. Until now that was written over its own end, so that whatever took its
-- place once more was made for no longer than was left of it.
ALTER TABLE keys ADD COLUMN retires_at BIGINT;
