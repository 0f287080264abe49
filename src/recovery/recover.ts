import type { Clock } from '../clock.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import type { Counts } from '../loop.ts'
import type { Doors } from '../sql/doors.ts'
import { recordRecovery } from '../sql/leader.ts'

/** One step of recovery: idempotent, fenced by the term, and bounded by what is leased, not by the
 *  size of a table. */
export interface Phase {
  name: string
  run(term: Term): Promise<Counts>
}

export interface RecoverOptions {
  phases: Phase[]
  doors: Doors
  clock: Clock
  log: Log
  onPhase?(phase: string, ms: number): void
}

/** Once per term, after the promotion has committed and before the gate opens: so it sees everything
 *  that older terms ever wrote. It converges when run twice, or after it was killed half-way. */
export async function recover(term: Term, lost: AbortSignal, options: RecoverOptions) {
  const { phases, doors, clock, log, onPhase } = options
  const done: { phase: string; ms: number; counts: Counts }[] = []
  for (const phase of phases) {
    lost.throwIfAborted()
    const startedAt = clock.monotonic()
    const counts = await phase.run(term)
    const tookMs = clock.monotonic() - startedAt
    onPhase?.(phase.name, tookMs)
    const ms = Math.round(tookMs)
    done.push({ phase: phase.name, ms, counts })
    log.info({ term: term.number, phase: phase.name, ms, ...counts }, 'recovery phase done')
  }
  await doors.asLeader(term, (tx) => recordRecovery(tx, term.number, done))
}
