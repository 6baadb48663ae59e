-- The oldest entry of a seal: with the newest one it tells, without reading the list, whether an entry may be there.
-- NULL in seals of before, and in what an older Usher seals beside this one: nothing in these tables is changed.

ALTER TABLE audit_seals ADD COLUMN first_id UUID;
CREATE INDEX audit_seals_span ON audit_seals (last_id, first_id);
CREATE INDEX audit_seals_first ON audit_seals (first_id);
DROP INDEX audit_seals_last;
