import type { Gate } from './gate.ts'
import type { Term } from './term.ts'

/** What a leader has to do, handed in by app.ts: this folder knows neither recovery nor sweeps. */
export interface Duties {
  /** Resolves when everything that older terms left is in order. */
  recover(term: Term, lost: AbortSignal): Promise<void>
  /** Runs while the gate is open; resolves when the term is lost. Throws if it cannot start. */
  sweep(term: Term, lost: AbortSignal): Promise<void>
}

/** A tenure, from promotion to loss. The page to read first. Duties that fail are taken up again from
 *  recovery on, with the gate closed; `afterFailure` waits in between, or gives the term up. */
export async function serveTerm(
  term: Term,
  gate: Gate,
  duties: Duties,
  afterFailure: (error: unknown) => Promise<void>,
): Promise<void> {
  const { lost } = term
  try {
    while (!lost.aborted) {
      gate.recovering(term)
      try {
        await duties.recover(term, lost)
        lost.throwIfAborted()
        gate.open(term)
        await duties.sweep(term, lost)
      } catch (error) {
        gate.recovering(term)
        if (!lost.aborted) await afterFailure(error)
      }
    }
  } finally {
    gate.close(term)
  }
}
