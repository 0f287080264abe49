-- purpose: named locks for outside actors
-- breaking: no

-- What is not among the living, or not there at all. As a function that is VOLATILE, it looks with a snapshot of
-- its own: a statement that has waited for a lock's row would otherwise judge a job by how it was before the wait,
-- and take one that was submitted meanwhile for one that does not exist.
CREATE FUNCTION is_job_over(p_job_id uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM FROM jobs WHERE id = p_job_id AND state IN ('available', 'leased', 'waiting');
  RETURN NOT FOUND;
END $$;

-- Whether another process of its owner has had the lock after this one had it. `p_holders`: as in locks.holders.
CREATE FUNCTION is_displaced(p_holders text[], p_owner text, p_boot_id text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT EXISTS (
    SELECT FROM unnest(p_holders) WITH ORDINALITY AS mine (holder, at)
    JOIN unnest(p_holders) WITH ORDINALITY AS later (holder, at) ON later.at < mine.at
    WHERE mine.holder = p_owner || ' ' || p_boot_id AND split_part(later.holder, ' ', 1) = p_owner
  )
$$;

-- One row for each name, kept a day after it was free last: its fence goes on from there.
CREATE TABLE locks (
  name text PRIMARY KEY,
  -- +1 whenever it is acquired anew; never lowered, never reused
  fence bigint NOT NULL,
  -- who has it, or had it last; no boot_id: it was taken away, and nobody may answer for that holder
  owner text NOT NULL,
  boot_id text,
  -- `owner boot_id` of the last 16 processes that had it, each once, the latest first: one that another process of
  -- its owner came after is gone, and must not take it back, whatever became of the lock since
  holders text[] NOT NULL,
  -- a new process of this owner takes over with the same token
  token_id text NOT NULL,
  -- it ends with this job
  job_id uuid,
  -- json, not jsonb: it is handed on, never looked into
  metadata json NOT NULL,
  ttl_ms integer NOT NULL,
  acquired_at timestamptz NOT NULL,
  renewed_at timestamptz NOT NULL,
  -- the heartbeat is stale: another may have it from then on
  expires_at timestamptz NOT NULL,
  -- the whole TTL has passed: it is over, even if nobody else wants it
  ends_at timestamptz NOT NULL,
  released_at timestamptz,
  CONSTRAINT held_by_a_process CHECK (boot_id IS NOT NULL OR released_at IS NOT NULL),
  CONSTRAINT stale_before_over CHECK (expires_at <= ends_at)
) WITH (
  -- one update per heartbeat, of no indexed column: HOT, with room for it on the page
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05
);

-- The greatest fence of all rows that were pruned: a name that comes anew goes on above it.
CREATE TABLE lock_floor (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  fence bigint NOT NULL
);
INSERT INTO lock_floor (fence) VALUES (0);
