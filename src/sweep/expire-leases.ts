import { endByLoss } from '../domain/lease.ts'
import type { Term } from '../leader/term.ts'
import type { LeaseEnds } from '../services/lease-ends.ts'
import type { Stalls } from '../services/stalls.ts'
import type { Doors } from '../sql/doors.ts'
import { raiseDeadlineFloor, raiseFloorIfFleetFellSilent } from '../sql/leader.ts'
import { endLeasesIfFenced, hasReclaimableLeases, lockReclaimableLeases } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

export interface ExpireLeasesOptions {
  db: Queryable
  doors: Doors
  leaseEnds: LeaseEnds
  stalls: Stalls
  intervalMs: number
  leaseTtlMs: number
  lostLeaseBudget: number
}

const batch = 500

/** Takes back leases whose executors are gone: not heard for a lease TTL, or registered anew. Time in
 *  which this replica itself was deaf counts for the executors (invariant 7), and so does, once, a
 *  silence of most of them at the same time. */
export function expireLeases(o: ExpireLeasesOptions): Sweep {
  return {
    name: 'expire_leases',
    intervalMs: o.intervalMs,
    runOnce: async (term) => {
      const stall = o.stalls.unsettled
      if (stall > 0) return await raiseFloor(o, term, stall)
      if (!(await hasReclaimableLeases(o.db, term.number))) return { counts: { reclaimed: 0 } }
      // By itself: the ping writes the same row, and must not wait for what follows.
      const silent = await o.doors.asLeader(term, (tx) =>
        raiseFloorIfFleetFellSilent(tx, term.number, o.leaseTtlMs),
      )
      const ends = await o.doors.asLeader(term, async (tx) => {
        const jobs = await lockReclaimableLeases(tx, term.number, batch)
        const ends = jobs.map((job) =>
          endByLoss(job, o.lostLeaseBudget, `executor ${job.executor_id} was not heard in time`),
        )
        if (ends.length > 0) await endLeasesIfFenced(tx, ends)
        return ends
      })
      o.leaseEnds.announce(ends)
      const counts = { reclaimed: ends.length, silent_executors_waited_for: silent }
      return ends.length === batch ? { counts, pauseMs: 0 } : { counts }
    },
  }
}

async function raiseFloor(o: ExpireLeasesOptions, term: Term, stall: number) {
  await o.doors.asLeader(term, (tx) => raiseDeadlineFloor(tx, term.number, o.leaseTtlMs))
  o.stalls.settle(stall)
  return { counts: { deadline_floor_raised: 1 } }
}
