-- purpose: no generated column in a row that is updated
-- breaking: no

-- Postgres reads the expression of a generated column anew for each row of an UPDATE, even where nothing that it
-- depends on changes: a twentieth of what a claim and a report cost. Null: a build before has inserted it.
ALTER TABLE jobs
  ALTER COLUMN payload_bytes DROP EXPRESSION,
  ALTER COLUMN payload_bytes DROP NOT NULL;
