import type { Doors } from '../sql/doors.ts'
import { endVanishedTerms } from '../sql/leader.ts'
import { markGoneReplicas } from '../sql/replicas.ts'
import type { Phase } from './recover.ts'

/** Phase 2. Replicas that are gone are marked so, and terms that nobody ended are ended. */
export function markGonePhase(doors: Doors): Phase {
  return {
    name: 'mark_gone',
    run: (term) =>
      doors.asLeader(term, async (tx) => ({
        replicas: await markGoneReplicas(tx),
        terms: await endVanishedTerms(tx, term.number),
      })),
  }
}
