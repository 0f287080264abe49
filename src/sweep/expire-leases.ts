import type { Term } from '../leader/term.ts'
import { type ReclaimOptions, reclaim } from '../services/reclaim.ts'
import type { Stalls } from '../services/stalls.ts'
import { raiseDeadlineFloor, raiseFloorIfFleetFellSilent } from '../sql/leader.ts'
import { listReclaimableLeases, lockReclaimableLeases } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { LeasePages } from './lease-pages.ts'
import type { Sweep } from './scheduler.ts'

export interface ExpireLeasesOptions extends ReclaimOptions {
  db: Queryable
  stalls: Stalls
  intervalMs: number
  leaseTtlMs: number
  /** Leases that could have been taken back now get more time, since nobody could be heard, or since most
   *  fell silent at the same time. */
  onDeferred?(reason: 'stall' | 'silence'): void
}

/** Takes back leases whose executors are gone: not heard for a lease TTL, or registered anew. Time in
 *  which this replica itself was deaf counts for the executors (invariant 7), and so does, once, a
 *  silence of most of them at the same time. */
export function expireLeases(o: ExpireLeasesOptions): Sweep {
  const pages = new LeasePages()
  return {
    name: 'expire_leases',
    intervalMs: o.intervalMs,
    runOnce: async (term) => {
      const stall = o.stalls.unsettled
      if (stall > 0) return await raiseFloor(o, term, stall)
      const leases = await listReclaimableLeases(o.db, term.number, pages.after, pages.size)
      if (leases.length === 0) {
        pages.turn(leases, 0)
        return { counts: { reclaimed: 0 } }
      }
      // By itself: the ping writes the same row, and must not wait for what follows.
      const silent = await o.doors.asLeader(term, (tx) =>
        raiseFloorIfFleetFellSilent(tx, term.number, o.leaseTtlMs),
      )
      if (silent > 0) o.onDeferred?.('silence')
      const done = await reclaim(
        o,
        term,
        leases.map(({ id }) => id),
        (tx, ids) => lockReclaimableLeases(tx, term.number, ids),
        (job) => ({ tier: 'expired', why: `executor ${job.executor_id} was not heard in time` }),
      )
      const { tried, ...counted } = done
      const counts = { ...counted, silent_executors_waited_for: silent }
      return pages.turn(leases, tried) ? { counts } : { counts, pauseMs: 0 }
    },
  }
}

async function raiseFloor(o: ExpireLeasesOptions, term: Term, stall: number) {
  await o.doors.asLeader(term, (tx) => raiseDeadlineFloor(tx, term.number, o.leaseTtlMs))
  o.stalls.settle(stall)
  o.onDeferred?.('stall')
  return { counts: { deadline_floor_raised: 1 } }
}
