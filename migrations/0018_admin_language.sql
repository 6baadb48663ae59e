-- The tag of the language that an administrator's browser asked for when they last signed in.
ALTER TABLE admins ADD COLUMN language TEXT;
