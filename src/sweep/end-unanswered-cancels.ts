import { endByUnansweredCancel } from '../domain/lease.ts'
import { type EndDueOptions, endDue } from '../services/reclaim.ts'
import type { Stalls } from '../services/stalls.ts'
import { listUnansweredCancels, lockUnansweredCancels } from '../sql/cancels.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

export interface EndUnansweredCancelsOptions extends EndDueOptions {
  db: Queryable
  stalls: Stalls
  intervalMs: number
  leaseTtlMs: number
  /** From the heartbeat's answer that told of it. */
  graceMs: number
}

const batch = 500
const beforeAll = '00000000-0000-0000-0000-000000000000'

/** Takes the lease from executors that were told to stop and have not answered within the grace (invariant 6), which
 *  restarts with the gate: nobody can answer while there is no active replica (invariant 7). */
export function endUnansweredCancels({
  db,
  stalls,
  intervalMs,
  leaseTtlMs,
  graceMs,
  ...o
}: EndUnansweredCancelsOptions): Sweep {
  // Where the next pass goes on: rows that cannot be written must not be all that it ever finds.
  let after = beforeAll
  return {
    name: 'end_unanswered_cancels',
    intervalMs,
    runOnce: async (term) => {
      // Who was not heard may have answered: the sweep of leases is about to raise the floor.
      if (stalls.unsettled > 0) return { counts: { cancelled: 0 } }
      const judge = { term: term.number, leaseTtlMs }
      const ids = await listUnansweredCancels(db, judge, graceMs, after, batch)
      const { ended, tried, bad_rows } = await endDue(
        o,
        term,
        ids,
        (tx, due) => lockUnansweredCancels(tx, judge, graceMs, due),
        endByUnansweredCancel,
      )
      const counts = { cancelled: ended, bad_rows }
      const isLast = tried === ids.length && ids.length < batch
      after = isLast ? beforeAll : (ids[tried - 1] ?? after)
      return isLast ? { counts } : { counts, pauseMs: 0 }
    },
  }
}
