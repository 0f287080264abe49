import type { ClassCatalog } from '../services/class-catalog.ts'
import type { ExecutorDirectory } from '../services/executor-directory.ts'
import type { Lane } from '../services/lane.ts'
import type { Offers } from '../services/offers.ts'
import type { ReadyClasses } from '../services/ready-classes.ts'
import { listPolledLeases, probeClaimable } from '../sql/claims.ts'
import { listRegistered } from '../sql/executors.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Phase } from './recover.ts'

export interface Memory {
  catalog: ClassCatalog
  directory: ExecutorDirectory
  ready: ReadyClasses
  offers: Offers
  lane: Lane
}

/** What the gate relies on: epochs, classes, which of them have work, and the offers of earlier terms,
 *  whose executors may ask for a lost answer again. */
export function loadMemoryPhase(db: Queryable, memory: Memory): Phase {
  const { catalog, directory, ready, offers, lane } = memory
  return {
    name: 'load_memory',
    run: async () => {
      await catalog.load()
      // In turn with registrations: one of an earlier recovery of this term may still be under way.
      const executors = await lane.run(async () => {
        const executors = await listRegistered(db)
        directory.load(executors)
        return executors
      })
      ready.clear()
      const { claimable } = await probeClaimable(db, [...catalog.classes.keys()])
      for (const classId of claimable) ready.mark(classId)
      offers.clear()
      const leases = await listPolledLeases(db)
      offers.load(leases, directory)
      return { executors: executors.length, classes: catalog.classes.size, leases: leases.length }
    },
  }
}
