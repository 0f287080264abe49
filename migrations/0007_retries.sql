-- purpose: final jobs that are retried, each as one new job
-- breaking: no

-- Without defaults, so that no row is rewritten.
ALTER TABLE jobs
  ADD COLUMN retry_of uuid,
  -- the one job that a final one is retried as
  ADD COLUMN retried_as uuid,
  -- the idempotency key that a retried job had: shown, and no longer its own. Out of idempotency_key, not
  -- out of its index by a predicate: the build before names that index by its predicate as it is
  ADD COLUMN former_key text,
  -- NOT VALID: what is there has none of it, and need not be read
  ADD CONSTRAINT retried_only_if_final
    CHECK (retried_as IS NULL OR state IN ('failed', 'cancelled')) NOT VALID;
