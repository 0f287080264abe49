import { type SqlBool, sql } from 'kysely'
import { build, rowsOf } from './build.ts'
import { fitting, type JobFilter, type JobSummaryRow } from './jobs.ts'
import type { Queryable } from './pool.ts'

/** Jobs to which something can still be done: one that was retried is over for good. */
export interface BulkMatch extends Omit<JobFilter, 'state' | 'limit'> {
  states: readonly JobSummaryRow['state'][]
  /** Leaves out those that were asked to be cancelled. */
  skipsCancelled: boolean
}

export async function countMatches(db: Queryable, match: BulkMatch): Promise<number> {
  const count = matching(match).select(({ fn }) => fn.countAll<number>().as('matched'))
  const [row] = await rowsOf(db, count)
  return row?.matched ?? 0
}

/** Newest first, so that what is made of them is met by no later page. */
export function listMatches(
  db: Queryable,
  match: BulkMatch,
  limit: number,
): Promise<{ id: string; bytes: number }[]> {
  const page = matching(match)
    .select(['j.id', sql<number>`j.payload_bytes + j.results_bytes`.as('bytes')])
    .orderBy('j.id', 'desc')
  return rowsOf(db, page.limit(limit))
}

function matching({ states, skipsCancelled, ...filter }: BulkMatch) {
  // Literals: the index of failed jobs is partial.
  const literals = sql.join(states.map((state) => sql.lit(state)))
  return build
    .selectFrom('jobs as j')
    .where(sql<SqlBool>`j.state IN (${literals})`)
    .where('j.retried_as', 'is', null)
    .$if(skipsCancelled, (open) => open.where('j.cancel_requested_at', 'is', null))
    .where(({ and }) => and(fitting(filter)))
}
