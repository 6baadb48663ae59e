-- The columns it reads stay, for servers of the version before may still run and read them. Nobody else does: a later version
-- drops them.
INSERT INTO key_calls (id, key_id, api_date, called_at)
    SELECT id, id, older_version, older_version_at FROM keys WHERE older_version IS NOT NULL;
