-- A tenant that somebody made by signing up is about them; NULL for an organisation's.

ALTER TABLE tenants ADD COLUMN founder_id UUID;
-- Both are made in one moment, and who signs up stands in the trail as who did it.
UPDATE tenants SET founder_id = (
    SELECT u.id FROM users u JOIN audit a ON a.user_id = u.id
    WHERE u.tenant_id = tenants.id AND u.created_at = tenants.created_at
        AND a.action = 'user.created' AND a.actor = 'person' AND a.actor_id = u.id
    LIMIT 1
);
