import { sql } from 'kysely'
import type pg from 'pg'
import { build, rowsOf } from './build.ts'
import type { Queryable } from './pool.ts'

/** Statements of leadership. Those that take a `Client` run on the lock session. */

/** Waits at most `sliceMs` for the lock. False does not prove that it is not held: ask again. */
export async function waitForActiveLock(client: pg.Client, lockId: string, sliceMs: number) {
  const { rows } = await client.query<{ granted: boolean }>({
    name: 'wait_for_active_lock',
    text: 'SELECT wait_for_active_lock($1::bigint, $2) AS granted',
    values: [lockId, sliceMs],
  })
  return rows[0]?.granted === true
}

/** One autocommit statement: the next term, or an error and no change. */
export async function promote(client: pg.Client, replicaId: string): Promise<number> {
  const { rows } = await client.query<{ term: number }>({
    text: 'SELECT promote($1) AS term',
    values: [replicaId],
  })
  if (!rows[0]) throw new Error('promote() gave no term')
  return rows[0].term
}

/** Ends the sessions of the term before that still hold the fence. The lock is ours, so they can only
 *  be frozen or late. Returns their pids. */
export async function terminateFenceHolders(client: pg.Client): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(`
    SELECT pid, pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1970168947 AND objid = 1 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND granted AND pid <> pg_backend_pid()`)
  return rows.map((row) => row.pid)
}

/** False: this term is over. */
export async function tick(
  client: pg.Client,
  term: number,
  replicaId: string,
  isServing: boolean,
): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>({
    name: 'tick',
    text: 'SELECT tick($1, $2, $3) AS held',
    values: [term, replicaId, isServing],
  })
  return rows[0]?.held === true
}

/** Whether another session waits for the lock that this one holds. */
export async function hasOtherWaiter(client: pg.Client, lockId: string): Promise<boolean> {
  const { rows } = await client.query<{ waits: boolean }>({
    text: `SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND ((classid::bigint << 32) | objid::bigint) = $1::bigint
      ) AS waits`,
    values: [lockId],
  })
  return rows[0]?.waits === true
}

/** Why a term ended, as told by its own replica; that wins over what a successor could only guess. */
export async function recordTermEnd(
  db: Queryable,
  term: number,
  replicaId: string,
  reason: string,
): Promise<void> {
  await db.query({
    text: `UPDATE terms SET end_reason = $3, ended_at = coalesce(ended_at, clock_timestamp())
      WHERE term = $1 AND replica_id = $2 AND (end_reason IS NULL OR end_reason = 'vanished')`,
    values: [term, replicaId, reason],
  })
}

/** Earlier terms that nobody ended: their replicas were killed or cut off. */
export async function endVanishedTerms(tx: Queryable, term: number): Promise<number> {
  const { rowCount } = await tx.query({
    text: `UPDATE terms SET end_reason = 'vanished', ended_at = ticked_at
      WHERE term < $1 AND ended_at IS NULL`,
    values: [term],
  })
  return rowCount ?? 0
}

/** How the term before this one ended, as far as anybody wrote down; undefined: there was none. */
export async function findEndBefore(
  db: Queryable,
  term: number,
): Promise<{ end_reason: string | null } | undefined> {
  const { rows } = await db.query<{ end_reason: string | null }>({
    text: 'SELECT end_reason FROM terms WHERE term < $1 ORDER BY term DESC LIMIT 1',
    values: [term],
  })
  return rows[0]
}

/** No deadline that takes work away ends earlier than `ms` from now. Never lowers the floor. */
export async function raiseDeadlineFloor(tx: Queryable, term: number, ms: number): Promise<void> {
  await tx.query({
    text: `UPDATE terms SET deadline_floor_at = greatest(
        deadline_floor_at, clock_timestamp() + $2 * interval '1 millisecond')
      WHERE term = $1`,
    values: [term, ms],
  })
}

/** Where most of the fleet fell silent at the same time, it is rather the network that did: leases get
 *  one more TTL. Silence is judged after half a TTL, so that the whole fleet counts when its first lease
 *  runs out; and for one TTL only, so that this happens once. Of fewer than three executors nothing can be
 *  told. Returns how many fell silent; 0: no more than could be by themselves. */
export async function raiseFloorIfFleetFellSilent(
  tx: Queryable,
  term: number,
  leaseTtlMs: number,
): Promise<number> {
  const { rows } = await tx.query<{ silent: number }>({
    text: `
      UPDATE terms SET deadline_floor_at = clock_timestamp() + x.ttl
      FROM (
        SELECT i.ttl, count(*) AS heard,
          count(*) FILTER (WHERE heartbeat_at < statement_timestamp() - 0.5 * i.ttl) AS silent
        FROM executors, (SELECT $2 * interval '1 millisecond' AS ttl) i
        WHERE heartbeat_at > statement_timestamp() - 1.5 * i.ttl AND state <> 'deregistered'
        GROUP BY i.ttl
      ) x
      WHERE term = $1 AND deadline_floor_at < statement_timestamp()
        AND x.silent >= 3 AND 2 * x.silent > x.heard
      RETURNING x.silent`,
    values: [term, leaseTtlMs],
  })
  return rows[0]?.silent ?? 0
}

export async function recordRecovery(tx: Queryable, term: number, phases: unknown): Promise<void> {
  await tx.query({
    text: 'UPDATE terms SET recovery = $2 WHERE term = $1',
    values: [term, JSON.stringify(phases)],
  })
}

/**
 * The latest terms, newest first. A replica writes its end down when it comes to it, which may be
 * after its successor was promoted: no term is shown to have outlasted that.
 */
export function listTerms(db: Queryable, limit: number) {
  return rowsOf(
    db,
    build
      .selectFrom('terms as t')
      .leftJoin('replicas as r', 'r.replica_id', 't.replica_id')
      .leftJoin('terms as next', (on) => on.on('next.term', '=', sql<number>`t.term + 1`))
      .select(['t.term', 't.replica_id', 't.promoted_at', 't.ticked_at'])
      .select(['t.end_reason', 't.recovery'])
      .select(
        sql<string | null>`CASE WHEN t.ended_at > next.promoted_at THEN next.promoted_at
          ELSE t.ended_at END`.as('ended_at'),
      )
      .select(({ fn, ref, val }) => fn.coalesce(ref('r.name'), val('')).as('name'))
      .orderBy('t.term', 'desc')
      .limit(limit),
  )
}

/** Since when a leader must have ticked to be taken for one that is there. */
const lately = "clock_timestamp() - interval '5 seconds'"

/** Of a row `t` of terms: its replica leads. */
export const isLed = `t.term IS NOT NULL AND t.ended_at IS NULL AND t.ticked_at > ${lately}`
/** And its gate was open when it ticked, so that it serves executors. */
export const isServed = `t.term IS NOT NULL AND t.ended_at IS NULL AND coalesce(t.served_at > ${lately}, false)`

export interface Observation {
  term: number
  replica_id: string | null
  name: string | null
  advertised_url: string | null
  is_led: boolean
}

/** Who leads, as the leader row has it. */
export async function observeLeader(db: Queryable): Promise<Observation> {
  const { rows } = await db.query<Observation>({
    name: 'observe_leader',
    text: `SELECT l.term, l.replica_id, r.name, r.advertised_url,
        ${isLed} AS is_led
      FROM leader l
      LEFT JOIN replicas r USING (replica_id)
      LEFT JOIN terms t ON t.term = l.term AND t.replica_id = l.replica_id`,
  })
  if (!rows[0]) throw new Error('the leader row is missing')
  return rows[0]
}
