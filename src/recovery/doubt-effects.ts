import type { Doors } from '../sql/doors.ts'
import { doubtOrphanedEffects, listJobsOfOrphanedEffects } from '../sql/effects.ts'
import { lockJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Phase } from './recover.ts'

const batch = 500

/** Phase 5. Whatever ends a lease puts what its holder had begun in doubt, in the same statement (invariant 5);
 *  but a leader of a build that knew no effects does not. What it left begun is put in doubt here. */
export function doubtEffectsPhase(db: Queryable, doors: Doors): Phase {
  return {
    name: 'doubt_effects',
    run: async (term) => {
      const counts = { effects_in_doubt: 0 }
      for (let found = batch; found === batch; ) {
        const jobIds = await listJobsOfOrphanedEffects(db, batch)
        found = jobIds.length
        if (found === 0) break
        counts.effects_in_doubt += await doors.asLeader(term, async (tx) => {
          await lockJobs(tx, jobIds)
          return await doubtOrphanedEffects(tx, jobIds)
        })
      }
      return counts
    },
  }
}
