import { endByRunTimeout } from '../domain/lease.ts'
import { type EndDueOptions, endDue } from '../services/reclaim.ts'
import type { Stalls } from '../services/stalls.ts'
import type { Queryable } from '../sql/pool.ts'
import { listOverrunLeases, lockOverrunLeases } from '../sql/run-timeouts.ts'
import { LeasePages } from './lease-pages.ts'
import type { Sweep } from './scheduler.ts'

export interface EnforceRunTimeoutsOptions extends EndDueOptions {
  db: Queryable
  stalls: Stalls
  intervalMs: number
  /** How long after its timeout a job may go on to end, or to be stopped. */
  graceMs: number
}

/** The backstop: an executor stops a job by itself when its run timeout has passed; from one that does not, the job
 *  is taken, however well it is heard. */
export function enforceRunTimeouts({
  db,
  stalls,
  intervalMs,
  graceMs,
  ...o
}: EnforceRunTimeoutsOptions): Sweep {
  const pages = new LeasePages()
  return {
    name: 'enforce_run_timeouts',
    intervalMs,
    runOnce: async (term) => {
      // Who was not heard may have said that it has ended: the sweep of leases is about to raise the floor.
      if (stalls.unsettled > 0) return { counts: { timed_out: 0 } }
      const page = await listOverrunLeases(db, term.number, pages.after, pages.size, graceMs)
      const { ended, tried, bad_rows } = await endDue(
        o,
        term,
        page.map(({ id }) => id),
        (tx, ids) => lockOverrunLeases(tx, term.number, ids, graceMs),
        (job) => endByRunTimeout(job),
      )
      const counts = { timed_out: ended, bad_rows }
      return pages.turn(page, tried) ? { counts } : { counts, pauseMs: 0 }
    },
  }
}
