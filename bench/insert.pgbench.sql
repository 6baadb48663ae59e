-- What a create writes into `users`, and nothing else of it: one row, one transaction, durable.
\set a random(1, 9000000000000000)
\set b random(1, 9000000000000000)
INSERT INTO users (id, environment_id, email, email_key, phone, phone_key, profile, health, created_at, updated_at)
SELECT gen_random_uuid(), id, :a || '@example.com', :a || '@example.com', :b::text, :b::text,
  '{"given_name":"Jane","family_name":"Doe","birthdate":"1990-12-23"}', decode(repeat('5a', 486), 'hex'), 1795262400000, 1795262400000
FROM environments WHERE kind = 'sandbox';
