import type { ClassCatalog } from '../services/class-catalog.ts'
import type { Polls } from '../services/polls.ts'
import { probeClaimable } from '../sql/claims.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

/** The safety net under all hints: while anybody waits, or has just asked in vain, looks once a second for work that
 *  nobody told this replica of. */
export function scanClaimable(db: Queryable, catalog: ClassCatalog, polls: Polls): Sweep {
  return {
    name: 'scan_claimable',
    intervalMs: 1_000,
    runOnce: async () => {
      await polls.settleDoubt()
      const doubtful = polls.takeDoubtful()
      if (!polls.isWaitedFor && doubtful.length === 0) return { counts: {} }
      try {
        const { classes, claimable } = await probeClaimable(db, doubtful)
        if (classes !== catalog.classes.size) await catalog.load()
        polls.lookAgain()
        polls.markReady(claimable)
      } catch (error) {
        polls.doubt(doubtful)
        throw error
      }
      return { counts: {} }
    },
  }
}
