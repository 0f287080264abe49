import type { Queryable } from './pool.ts'

/** Statements on named locks. Each decides in its WHERE, under the lock of the one row, by the database's clock: what
 *  it read before proves nothing. Only pruning takes rows away. */

export interface LockRow {
  name: string
  state: 'held' | 'stale' | 'free'
  fence: number
  owner: string
  token_id: string
  job_id: string | null
  /** Parsed JSON. */
  metadata: unknown
  ttl_ms: number
  acquired_at: string
  renewed_at: string
  expires_at: string
  ends_at: string
  released_at: string | null
}

/** One process of an owner. */
export interface LockProcess {
  owner: string
  boot_id: string
}

/** Who says to hold a lock. */
export type Claimant = LockProcess & { fence: number }

export interface NewHolding extends LockProcess {
  name: string
  token_id: string
  /** May take over from any process of this owner, whatever token that one has shown. */
  is_admin: boolean
  job_id: string | null
  /** JSON as text. */
  metadata: string
  ttl_ms: number
  valid_ms: number
}

export interface Deadlines {
  name: string
  fence: number
  expires_at: string
  ends_at: string
}

/** Given up, taken away, or out of time: nothing that its holder says revives it. */
const isOver = `(l.released_at IS NOT NULL OR l.ends_at <= statement_timestamp()
  OR (l.job_id IS NOT NULL AND is_job_over(l.job_id)))`

/** Another may have it: that, or its heartbeat is stale. */
const isFree = `(l.expires_at <= statement_timestamp() OR ${isOver})`

const isSameProcess = '(l.owner = EXCLUDED.owner AND l.boot_id = EXCLUDED.boot_id)'

/** The process that has it is gone, since there is a new one of its owner. */
const isSuccessor = `(l.owner = EXCLUDED.owner AND l.boot_id <> EXCLUDED.boot_id
  AND (l.token_id = EXCLUDED.token_id OR $6))`

/** One that a new process of its owner came after, and that asks late, gets nothing, not even what is free: its
 *  successor would find the lock taken by a process that is gone. */
const isDisplaced = 'is_displaced(l.holders, EXCLUDED.owner, EXCLUDED.boot_id)'

const columns = `l.name,
  CASE WHEN ${isOver} THEN 'free' WHEN l.expires_at <= statement_timestamp() THEN 'stale' ELSE 'held' END AS state,
  l.fence, l.owner, l.token_id, l.job_id, l.metadata, l.ttl_ms, l.acquired_at, l.renewed_at, l.expires_at,
  l.ends_at, l.released_at`

/** No name is pruned from here to the end of the transaction: one that is to be made finds the fence of its last
 *  holder, in its row or in the floor. A statement of its own, so that the next one's snapshot comes after it. */
export async function keepFromPruning(tx: Queryable): Promise<void> {
  await tx.query({
    name: 'keep_locks_from_pruning',
    text: 'SELECT pg_advisory_xact_lock_shared(1970168947, 3)',
  })
}

/** Gives the lock to this process, if nobody else has it; again, if it has it itself. Undefined: another has it, or
 *  has taken it over from this process, or the job is over that it is to be tied to. Comes after `keepFromPruning`. */
export async function acquireLockIfFree(
  tx: Queryable,
  wanted: NewHolding,
): Promise<Deadlines | undefined> {
  const { rows } = await tx.query<Deadlines>({
    name: 'acquire_lock_if_free',
    text: `
      INSERT INTO locks AS l (name, fence, owner, boot_id, holders, token_id, job_id, metadata,
        ttl_ms, acquired_at, renewed_at, expires_at, ends_at)
      SELECT $1, f.fence + 1, $2::text, $3::text, ARRAY[$2 || ' ' || $3], $4, $5::uuid, $7::json, $8::integer, now.at, now.at,
        now.at + $9::integer * interval '1 millisecond', now.at + $8::integer * interval '1 millisecond'
      FROM lock_floor f, (SELECT clock_timestamp() AS at) now
      WHERE $5::uuid IS NULL OR NOT is_job_over($5::uuid)
      ON CONFLICT (name) DO UPDATE SET
        fence = CASE WHEN ${isSameProcess} AND NOT ${isOver} THEN l.fence ELSE l.fence + 1 END,
        acquired_at = CASE WHEN ${isSameProcess} AND NOT ${isOver} THEN l.acquired_at ELSE EXCLUDED.acquired_at END,
        holders = (EXCLUDED.holders || array_remove(l.holders, EXCLUDED.holders[1]))[1:16],
        owner = EXCLUDED.owner, boot_id = EXCLUDED.boot_id, token_id = EXCLUDED.token_id,
        job_id = EXCLUDED.job_id, metadata = EXCLUDED.metadata, ttl_ms = EXCLUDED.ttl_ms,
        renewed_at = EXCLUDED.renewed_at, expires_at = EXCLUDED.expires_at, ends_at = EXCLUDED.ends_at,
        released_at = NULL
      WHERE (${isFree} OR ${isSameProcess} OR ${isSuccessor}) AND NOT ${isDisplaced}
      RETURNING name, fence, expires_at, ends_at`,
    values: [
      wanted.name,
      wanted.owner,
      wanted.boot_id,
      wanted.token_id,
      wanted.job_id,
      wanted.is_admin,
      wanted.metadata,
      wanted.ttl_ms,
      wanted.valid_ms,
    ],
  })
  return rows[0]
}

/** Undefined: it is not theirs, or no longer. One that is stale is theirs still, if nobody has taken it. */
export async function renewLockIfHeld(
  tx: Queryable,
  name: string,
  { owner, boot_id, fence }: Claimant,
  validCapMs: number,
): Promise<(Deadlines & { ttl_ms: number }) | undefined> {
  const { rows } = await tx.query<Deadlines & { ttl_ms: number }>({
    name: 'renew_lock_if_held',
    text: `UPDATE locks l SET renewed_at = now.at,
        expires_at = now.at + least(l.ttl_ms, $5::integer) * interval '1 millisecond',
        ends_at = now.at + l.ttl_ms * interval '1 millisecond'
      FROM (SELECT clock_timestamp() AS at) now
      WHERE l.name = $1 AND l.owner = $2 AND l.boot_id = $3 AND l.fence = $4 AND NOT ${isOver}
      RETURNING l.name, l.fence, l.expires_at, l.ends_at, l.ttl_ms`,
    values: [name, owner, boot_id, fence, validCapMs],
  })
  return rows[0]
}

/** Undefined: somebody else has had it since, or it was taken away. Again: as the first time. */
export async function releaseLockIfLatest(
  tx: Queryable,
  name: string,
  { owner, boot_id, fence }: Claimant,
): Promise<{ released_at: string } | undefined> {
  const { rows } = await tx.query<{ released_at: string }>({
    name: 'release_lock_if_latest',
    text: `UPDATE locks l SET released_at = coalesce(l.released_at, clock_timestamp())
      WHERE l.name = $1 AND l.owner = $2 AND l.boot_id = $3 AND l.fence = $4
      RETURNING l.released_at`,
    values: [name, owner, boot_id, fence],
  })
  return rows[0]
}

/** Takes it away from whoever has it, or from the holder with this fence alone. Undefined: there was nothing to
 *  take. */
export async function forceReleaseIfHeld(
  tx: Queryable,
  name: string,
  fence: number | null,
): Promise<LockRow | undefined> {
  const { rows } = await tx.query<LockRow>({
    name: 'force_release_if_held',
    text: `UPDATE locks l SET released_at = clock_timestamp(), boot_id = NULL
      WHERE l.name = $1 AND NOT ${isOver} AND ($2::bigint IS NULL OR l.fence = $2)
      RETURNING ${columns}`,
    values: [name, fence],
  })
  return rows[0]
}

export async function findLock(db: Queryable, name: string): Promise<LockRow | undefined> {
  const { rows } = await db.query<LockRow>({
    name: 'find_lock',
    text: `SELECT ${columns} FROM locks l WHERE l.name = $1`,
    values: [name],
  })
  return rows[0]
}

/** By name, above `after`; without a state, those that are not free. */
export async function listLocks(
  db: Queryable,
  { state, after, limit }: { state: LockRow['state'] | undefined; after: string; limit: number },
): Promise<LockRow[]> {
  const { rows } = await db.query<LockRow>({
    text: `SELECT * FROM (SELECT ${columns} FROM locks l
        WHERE l.name > $1 AND ($2::text = 'free' OR l.released_at IS NULL)) l
      WHERE CASE WHEN $2::text IS NULL THEN l.state <> 'free' ELSE l.state = $2 END
      ORDER BY l.name LIMIT $3`,
    values: [after, state ?? null, limit],
  })
  return rows
}

/** How many are held, and those that expire first. */
export async function lookAtHeldLocks(
  db: Queryable,
  limit: number,
): Promise<{ held: number; first: LockRow[] }> {
  const { rows } = await db.query<LockRow & { held: number }>({
    text: `SELECT count(*) OVER () AS held, l.* FROM (SELECT ${columns} FROM locks l
        WHERE l.released_at IS NULL AND l.expires_at > statement_timestamp()) l
      WHERE l.state = 'held' ORDER BY l.expires_at, l.name LIMIT $1`,
    values: [limit],
  })
  return { held: rows[0]?.held ?? 0, first: rows.map(({ held: _held, ...row }) => row) }
}

/** Those of these names that are there to be had. */
export async function listFreeNames(db: Queryable, names: string[]): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>({
    name: 'list_free_names',
    text: `SELECT n.name FROM unnest($1::text[]) AS n(name) LEFT JOIN locks l ON l.name = n.name
      WHERE l.name IS NULL OR ${isFree}`,
    values: [names],
  })
  return rows.map(({ name }) => name)
}

/** Whether another process of this one's owner has had it since. */
export async function wasTakenOver(
  db: Queryable,
  name: string,
  { owner, boot_id }: LockProcess,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'was_taken_over',
    text: 'SELECT FROM locks l WHERE l.name = $1 AND is_displaced(l.holders, $2, $3)',
    values: [name, owner, boot_id],
  })
  return rowCount === 1
}

export async function isJobOver(db: Queryable, jobId: string): Promise<boolean> {
  const { rows } = await db.query<{ over: boolean }>({
    name: 'is_job_over',
    text: 'SELECT is_job_over($1) AS over',
    values: [jobId],
  })
  return rows[0]?.over === true
}

/** Nobody has had it for a day. */
const isAbandoned = `coalesce(l.released_at, l.ends_at) < statement_timestamp() - interval '1 day'`

export async function hasAbandonedLocks(db: Queryable): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'has_abandoned_locks',
    text: `SELECT FROM locks l WHERE ${isAbandoned} LIMIT 1`,
  })
  return rowCount === 1
}

/** Deletes names that nobody has had for a day; their fences stay below the floor for good. The lock comes first: an
 *  acquire that has not seen the new floor would make a name anew with a fence that was used. */
export async function pruneAbandonedLocks(tx: Queryable, limit: number): Promise<number> {
  await tx.query({
    name: 'prune_locks_alone',
    text: 'SELECT pg_advisory_xact_lock(1970168947, 3)',
  })
  const { rows } = await tx.query<{ pruned: number }>({
    name: 'prune_abandoned_locks',
    text: `
      WITH abandoned AS (
        SELECT l.name FROM locks l WHERE ${isAbandoned} ORDER BY l.name LIMIT $1 FOR UPDATE SKIP LOCKED
      ), pruned AS (
        DELETE FROM locks l USING abandoned a WHERE l.name = a.name AND ${isAbandoned} RETURNING l.fence
      ), raised AS (
        UPDATE lock_floor f SET fence = greatest(f.fence, p.fence)
        FROM (SELECT max(fence) AS fence FROM pruned) p WHERE p.fence IS NOT NULL
      )
      SELECT count(*) AS pruned FROM pruned`,
    values: [limit],
  })
  return rows[0]?.pruned ?? 0
}
