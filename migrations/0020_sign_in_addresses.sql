-- An erasure finds the sign-ins of an address by this, sent or not. The table holds those of a day.
DROP INDEX sign_ins_address;
CREATE INDEX sign_ins_address ON sign_ins (address, sent_at);
