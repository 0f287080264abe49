import type { Stage } from './stage.ts'

/** What databases are asked, as Postgres counts it. */

/** Settings of a Postgres that counts. */
export const counting = { shared_preload_libraries: 'pg_stat_statements' }

export interface Statement {
  query: string
  calls: number
}

export async function startCounting(stage: Stage): Promise<void> {
  await stage.sql('postgres', 'CREATE EXTENSION IF NOT EXISTS pg_stat_statements')
  await stage.sql('postgres', 'SELECT pg_stat_statements_reset()')
}

/** Since the start, most frequent first. What a function of ours does within counts as its call. */
export async function countedOf(stage: Stage, database: string): Promise<Statement[]> {
  return await stage.sql<Statement>(
    'postgres',
    `SELECT query, calls::integer FROM pg_stat_statements
      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = $1) ORDER BY calls DESC`,
    [database],
  )
}

export function callsOf(statements: Statement[]): number {
  return statements.reduce((sum, { calls }) => sum + calls, 0)
}

/** The ping, the wait for the lock, and each replica's look at the schema and at who leads. */
const leadership = [
  /^SELECT tick\(/,
  /^SELECT wait_for_active_lock\(/,
  /^SELECT to_regclass\(/,
  /^SELECT version, breaking, checksum FROM migrations/,
  /^SELECT l\.term, l\.replica_id.* FROM leader l/s,
]
/** Executors that were heard. */
const heartbeat = /^\s*WITH heard AS /
/** Begins and ends the transaction of a leader. */
const door = /^(BEGIN|COMMIT|SELECT fence_term\()/

/** What is asked besides leadership and the transactions of heartbeats. */
export function withoutLeadershipAndHeartbeats(statements: Statement[]): Statement[] {
  const beats = callsOf(statements.filter(({ query }) => heartbeat.test(query)))
  return statements
    .filter(({ query }) => !heartbeat.test(query) && !leadership.some((each) => each.test(query)))
    .map(({ query, calls }) => ({ query, calls: door.test(query) ? calls - beats : calls }))
    .filter(({ calls }) => calls > 0)
    .sort((a, b) => b.calls - a.calls)
}
