import { type ReclaimOptions, reclaim } from '../services/reclaim.ts'
import {
  beforeAllLeases,
  listLeasesExpiredWhileServed,
  lockLeasesExpiredWhileServed,
} from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Phase } from './recover.ts'

const batch = 500

/**
 * Phase 3. Leases that had run out while their executors could still be heard are taken back now. All
 * others get one full lease TTL from the opening of the gate: the term's deadline floor is still null,
 * which holds every deadline, and the sweeps set it as their first act (invariant 7). Where many rows cannot
 * be written, the rest is left to the sweep: the gate does not wait for them.
 */
export function settleDeadlinesPhase(db: Queryable, o: ReclaimOptions): Phase {
  return {
    name: 'settle_deadlines',
    run: async (term) => {
      const counts = { reclaimed: 0, bad_rows: 0 }
      for (let after = beforeAllLeases, found = batch; found === batch; ) {
        const leases = await listLeasesExpiredWhileServed(db, term.number, after, batch)
        const done = await reclaim(
          o,
          term,
          leases.map(({ id }) => id),
          (tx, ids) => lockLeasesExpiredWhileServed(tx, term.number, ids),
          () => ({
            tier: 'expired_before_failover',
            why: 'the lease had expired before the failover',
          }),
        )
        counts.reclaimed += done.reclaimed
        counts.bad_rows += done.bad_rows
        found = done.tried
        after = leases.at(-1) ?? after
      }
      return counts
    },
  }
}
