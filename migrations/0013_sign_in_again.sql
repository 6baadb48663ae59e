-- How often something was done: by a keyed hash of what and who.
CREATE TABLE limits (
    mark BYTEA PRIMARY KEY,
    since BIGINT NOT NULL,
    used BIGINT NOT NULL
);
-- Networks are counted there.
DROP INDEX sign_ins_network;

-- Since when the mail of a sign-in leads nowhere any more. Its page does not say so: it would tell that somebody had the
-- address.
ALTER TABLE sign_ins ADD COLUMN void_at BIGINT;

-- Whether people may register themselves.
ALTER TABLE environments ADD COLUMN sign_up TEXT NOT NULL DEFAULT 'closed';
