-- The file of an import that a server reads, sealed, until it is done: apart from what changes with every few rows.
CREATE TABLE import_files (
    import_id UUID PRIMARY KEY REFERENCES imports (id),
    sealed BYTEA NOT NULL
);
ALTER TABLE imports DROP COLUMN source;
-- Who was erased while the file waited: keyed hashes of what was unique about them, as JSON.
ALTER TABLE imports ADD COLUMN erased TEXT;
