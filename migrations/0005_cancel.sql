-- purpose: cancels, and the sections in which they wait
-- breaking: no

ALTER TABLE jobs
  -- set once, by whoever asked first; from then on a job that leaves `leased` is cancelled, unless it succeeded
  ADD COLUMN cancel_requested_at timestamptz,
  ADD COLUMN cancel_reason text,
  -- when a heartbeat's answer first told its executor: the grace runs from here
  ADD COLUMN cancel_told_at timestamptz,
  -- the lease that is in its critical section: of the job's own fence, or over with the lease
  ADD COLUMN critical_fence bigint,
  ADD COLUMN critical_entered_at timestamptz,
  ADD COLUMN critical_ceiling_ms integer;

-- Cancels that have not arrived. Building it holds up writers while it reads the table once.
CREATE INDEX jobs_cancelling ON jobs (id)
  WHERE cancel_requested_at IS NOT NULL AND state IN ('available', 'leased', 'waiting');
