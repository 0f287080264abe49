import type { Log } from '../log.ts'
import type { Doors } from '../sql/doors.ts'
import { doubtOrphanedEffects, listJobsOfOrphanedEffects } from '../sql/effects.ts'
import { lockJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { writePages } from './pages.ts'
import type { Phase } from './recover.ts'

/** Phase 5. Whatever ends a lease puts what its holder had begun in doubt, in the same statement (invariant 5);
 *  but a leader of a build that knew no effects does not. What it left begun is put in doubt here. */
export function doubtEffectsPhase(db: Queryable, doors: Doors, log: Log): Phase {
  return {
    name: 'doubt_effects',
    run: async (term) => {
      let doubted = 0
      const list = (after: string, limit: number) => listJobsOfOrphanedEffects(db, after, limit)
      const spared = await writePages(log, list, async (ids) => {
        doubted += await doors.asLeader(term, async (tx) => {
          await lockJobs(tx, ids)
          return await doubtOrphanedEffects(tx, ids)
        })
      })
      return { effects_in_doubt: doubted, ...spared }
    },
  }
}
