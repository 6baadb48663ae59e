-- All the rows of a create, each with a statement of its own, in one transaction: what a server does that groups nothing.
\set a random(1, 9000000000000000)
\set b random(1, 9000000000000000)
BEGIN;
INSERT INTO users (id, environment_id, email, email_key, phone, phone_key, profile, health, created_at, updated_at)
SELECT md5(:a::text)::uuid, id, :a || '@example.com', :a || '@example.com', :b::text, :b::text,
  '{"given_name":"Jane","family_name":"Doe","birthdate":"1990-12-23"}', decode(repeat('5a', 486), 'hex'), 1795262400000, 1795262400000
FROM environments WHERE kind = 'sandbox';
INSERT INTO links (id, hash, user_id, purpose, created_at, expires_at)
VALUES (gen_random_uuid(), sha256(:a::text::bytea), md5(:a::text)::uuid, 'enrolment', 1795262400000, 1795348800000);
INSERT INTO outbox (id, environment_id, user_id, kind, payload, state, attempts, created_at)
SELECT gen_random_uuid(), id, md5(:a::text)::uuid, 'enrolment', decode(repeat('5a', 222), 'hex'), 'captured', 0, 1795262400000
FROM environments WHERE kind = 'sandbox';
INSERT INTO audit (id, environment_id, created_at, action, actor, actor_id, user_id, result, times, request_id, api_date, changes_hash, changes, proof)
SELECT gen_random_uuid(), id, 1795262400000, 'user.created', 'key', id, md5(:a::text)::uuid, 'done', 1, id, '2023-10-04',
  decode(repeat('5a', 32), 'hex'), decode(repeat('5a', 420), 'hex'), decode(repeat('5a', 36), 'hex')
FROM environments WHERE kind = 'sandbox';
COMMIT;
