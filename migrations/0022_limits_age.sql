-- What no longer limits is removed by its age, which grows: a new entry goes to the end of the index.
CREATE INDEX limits_age ON limits (since);
