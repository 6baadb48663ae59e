-- The tenants of an environment by when they were made. Whether one is deleted is asked of as many as a page has, and not of all.
CREATE INDEX tenants_newest ON tenants (environment_id, created_at, id);
