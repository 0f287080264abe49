import { endByUnansweredCancel } from '../domain/lease.ts'
import { type ReclaimOptions, reclaim } from '../services/reclaim.ts'
import type { Stalls } from '../services/stalls.ts'
import { listUnansweredCancels, lockUnansweredCancels } from '../sql/cancels.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

export interface EndUnansweredCancelsOptions extends ReclaimOptions {
  db: Queryable
  intervalMs: number
  leaseTtlMs: number
  cancelGraceMs: number
  stalls: Stalls
}

const batch = 500
const beforeAll = '00000000-0000-0000-0000-000000000000'

/** Takes the lease from executors that were told to stop and have not answered within the grace (invariant 6), which
 *  restarts with the gate: nobody can answer while there is no active replica (invariant 7). */
export function endUnansweredCancels(o: EndUnansweredCancelsOptions): Sweep {
  // Where the next pass goes on: rows that cannot be written must not be all that it ever finds.
  let after = beforeAll
  return {
    name: 'end_unanswered_cancels',
    intervalMs: o.intervalMs,
    runOnce: async (term) => {
      // Who was not heard may have answered: the sweep of leases is about to raise the floor.
      if (o.stalls.unsettled > 0) return { counts: { reclaimed: 0 } }
      const judge = { term: term.number, leaseTtlMs: o.leaseTtlMs }
      const ids = await listUnansweredCancels(o.db, judge, o.cancelGraceMs, after, batch)
      const { tried, ...counts } = await reclaim(
        o,
        term,
        ids,
        (tx, due) => lockUnansweredCancels(tx, judge, o.cancelGraceMs, due),
        endByUnansweredCancel,
      )
      const isLast = tried === ids.length && ids.length < batch
      after = isLast ? beforeAll : (ids[tried - 1] ?? after)
      return isLast ? { counts } : { counts, pauseMs: 0 }
    },
  }
}
