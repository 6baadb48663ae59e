-- The last call to an older date than the newest: `key_calls` tells of every date.
ALTER TABLE keys DROP COLUMN older_version;
ALTER TABLE keys DROP COLUMN older_version_at;
