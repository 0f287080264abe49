import { endByLoss } from '../domain/lease.ts'
import type { LeaseEnds } from '../services/lease-ends.ts'
import type { Doors } from '../sql/doors.ts'
import { endLeasesIfFenced, lockLeasesExpiredWhileServed } from '../sql/leases.ts'
import type { Phase } from './recover.ts'

const batch = 500

/**
 * Phase 3. Leases that had run out while their executors could still be heard are taken back now. All
 * others get one full lease TTL from the opening of the gate: the term's deadline floor is still null,
 * which holds every deadline, and the sweeps set it as their first act (invariant 7).
 */
export function settleDeadlinesPhase(
  doors: Doors,
  leaseEnds: LeaseEnds,
  lostLeaseBudget: number,
): Phase {
  return {
    name: 'settle_deadlines',
    run: async (term) => {
      let reclaimed = 0
      for (let found = batch; found === batch; ) {
        const ends = await doors.asLeader(term, async (tx) => {
          const jobs = await lockLeasesExpiredWhileServed(tx, term.number, batch)
          const ends = jobs.map((job) =>
            endByLoss(job, lostLeaseBudget, 'the lease had expired before the failover'),
          )
          if (ends.length > 0) await endLeasesIfFenced(tx, ends)
          return ends
        })
        leaseEnds.announce(ends)
        found = ends.length
        reclaimed += found
      }
      return { reclaimed }
    },
  }
}
