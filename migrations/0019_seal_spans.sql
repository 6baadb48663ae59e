-- The oldest id that a seal lists, as it stands there: which seals may list an entry is told without reading their lists.
-- NULL in what an older Usher seals beside this one.

ALTER TABLE audit_seals ADD COLUMN first_id BYTEA;
UPDATE audit_seals SET first_id = substr(entries, 1, 16);
CREATE INDEX audit_seals_span ON audit_seals (last_id, first_id);
DROP INDEX audit_seals_last;
