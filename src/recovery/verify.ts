import type { Log } from '../log.ts'
import { verifyFence } from '../services/verification.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Phase } from './recover.ts'

/** Phase 7. What the gate relies on is verified, and whatever comes of it, the gate opens. The leases are left
 *  to the sweep, which the gate need not wait for. */
export function verifyPhase(db: Queryable, log: Log): Phase {
  return {
    name: 'verify',
    run: async () => {
      try {
        return await verifyFence(db, log)
      } catch (error) {
        log.error({ err: error }, 'nothing could be verified')
        return { unverified: 1 }
      }
    },
  }
}
