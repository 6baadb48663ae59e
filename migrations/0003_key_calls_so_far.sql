INSERT INTO key_calls (id, key_id, api_date, called_at)
    SELECT id, id, older_version, older_version_at FROM keys WHERE older_version IS NOT NULL;
