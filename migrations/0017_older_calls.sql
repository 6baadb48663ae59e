-- The last call of a key to an older date of the partner API than the newest of then: which, and when.
ALTER TABLE keys ADD COLUMN older_version TEXT;
ALTER TABLE keys ADD COLUMN older_version_at BIGINT;
