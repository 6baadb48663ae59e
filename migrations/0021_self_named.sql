-- Since when a tenant has a name that it was given from within: by somebody who belongs to it, or by a key bound to it. NULL if the
-- app or the operator named it.

ALTER TABLE tenants ADD COLUMN self_named_at BIGINT;
-- What was changed is sealed: whoever has changed anything about their own tenant may have named it.
UPDATE tenants SET self_named_at = created_at WHERE founder_id IS NOT NULL OR id IN (
    SELECT target FROM audit WHERE action = 'tenant.updated' AND result = 'done'
        AND (actor = 'person' OR actor_id IN (SELECT id FROM keys WHERE tenant_id IS NOT NULL))
);
