-- How an app looks to people, and how it speaks to them.
-- `#rrggbb`.
ALTER TABLE apps ADD COLUMN color TEXT;
-- The file name of the logo, made from what is in it, and the file: PNG or JPEG.
ALTER TABLE apps ADD COLUMN logo TEXT;
ALTER TABLE apps ADD COLUMN logo_bytes BYTEA;
-- The tag of the language in which people are written to whose own is not known.
ALTER TABLE apps ADD COLUMN language TEXT;

-- What an app says in a kind of mail and a language in place of the words that Usher has.
CREATE TABLE mail_words (
    id UUID PRIMARY KEY,
    app_id UUID NOT NULL REFERENCES apps (id),
    kind TEXT NOT NULL,
    language TEXT NOT NULL,
    -- JSON: the name of a text, and what it says.
    texts TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    UNIQUE (app_id, kind, language)
);
