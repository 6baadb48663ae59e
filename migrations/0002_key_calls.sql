-- When a key last called a date of the partner API.
CREATE TABLE key_calls (
    id UUID PRIMARY KEY,
    key_id UUID NOT NULL REFERENCES keys (id),
    api_date TEXT NOT NULL,
    called_at BIGINT NOT NULL,
    UNIQUE (key_id, api_date)
);

-- Nobody has read it since mails to sign in by are counted by address.
DROP INDEX sign_ins_sent;
