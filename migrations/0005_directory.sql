-- What a tenant says of itself besides its name: JSON.
ALTER TABLE tenants ADD COLUMN profile TEXT NOT NULL DEFAULT '{}';

-- What a person may do to others of their tenant, beyond the two roles that every environment has.
CREATE TABLE roles (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL REFERENCES environments (id),
    name TEXT NOT NULL,
    -- Words with spaces between.
    rights TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (environment_id, name)
);

-- No reference: two roles have no row.
ALTER TABLE users ADD COLUMN role_id UUID;
-- The app's own name for the user.
ALTER TABLE users ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX users_external_id ON users (environment_id, external_id) WHERE external_id IS NOT NULL;

-- Lists, by time of change too, and of one tenant.
CREATE INDEX users_changed ON users (environment_id, updated_at);
CREATE INDEX users_of_tenant ON users (tenant_id, created_at) WHERE tenant_id IS NOT NULL;
CREATE INDEX users_of_tenant_changed ON users (tenant_id, updated_at) WHERE tenant_id IS NOT NULL;
-- The same for the few who are frozen or deleted, who would have to be sought among all others.
CREATE INDEX users_frozen ON users (environment_id, created_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_changed ON users (environment_id, updated_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_of_tenant ON users (tenant_id, created_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_frozen_of_tenant_changed ON users (tenant_id, updated_at) WHERE frozen_at IS NOT NULL;
CREATE INDEX users_deleted ON users (environment_id, created_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_changed ON users (environment_id, updated_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_of_tenant ON users (tenant_id, created_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_deleted_of_tenant_changed ON users (tenant_id, updated_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX users_to_erase ON users (deleted_at) WHERE deleted_at IS NOT NULL;

-- Whose data a kept answer holds.
ALTER TABLE idempotency ADD COLUMN user_id UUID;
CREATE INDEX idempotency_user ON idempotency (user_id) WHERE user_id IS NOT NULL;

-- For the same end.
CREATE INDEX sign_ins_user ON sign_ins (user_id) WHERE user_id IS NOT NULL;

-- That somebody was erased: nothing about who it was but the id.
CREATE TABLE erasures (
    id UUID PRIMARY KEY,
    environment_id UUID NOT NULL,
    user_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    -- How many rows of which table: JSON.
    counts TEXT NOT NULL
);
