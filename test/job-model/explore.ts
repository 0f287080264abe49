import fc from 'fast-check'
import type { Answer, Call } from './calls.ts'
import { isRefused } from './calls.ts'
import { type Step, sequences } from './commands.ts'
import { Disagreement, Sequence, type System } from './sequence.ts'

export interface Exploration {
  runs: number
  seed: number
  /** Of an earlier failure: it alone is run again. */
  path?: string | undefined
  /** How long a sequence that failed may be made shorter. */
  shrinkMs?: number
  onRun?(done: number): void
  onFailure?(): void
}

export interface Found {
  seed: number
  runs: number
  /** Calls, by what was asked and what was answered. */
  tally: Map<string, number>
  /** The shortest sequence that was found to fail, told; undefined: none did. */
  failure: { path: string; story: string[]; shrinks: number } | undefined
}

/** Runs sequences drawn by lot, one after the other, until one fails; that is made shorter as long as it goes on failing. */
export async function explore(system: System, options: Exploration): Promise<Found> {
  const { runs, seed, path, shrinkMs = 120_000, onRun, onFailure } = options
  const tally = new Map<string, number>()
  let done = 0
  let last: string[] = []
  let shrinkUntil = Number.POSITIVE_INFINITY
  const run = async (steps: Step[]) => {
    // To fast-check the rest of the shorter ones pass.
    if (performance.now() > shrinkUntil) return
    try {
      await Sequence.run(system, steps, (call, answer) => count(tally, call, answer))
      if (last.length > 0) return
      done += 1
      onRun?.(done)
    } catch (error) {
      if (last.length === 0) {
        onFailure?.()
        shrinkUntil = performance.now() + shrinkMs
      }
      last = error instanceof Disagreement ? error.story : [String((error as Error).stack)]
      throw error
    }
  }
  const details = await fc.check(fc.asyncProperty(sequences, run), {
    numRuns: path === undefined ? runs : 1,
    seed,
    ...(path !== undefined && { path }),
  })
  const { failed, counterexamplePath, numShrinks: shrinks } = details
  const failure = failed ? { path: counterexamplePath ?? '', story: last, shrinks } : undefined
  return { seed: details.seed, runs: done, tally, failure }
}

function count(tally: Map<string, number>, call: Call, answer: Answer): void {
  const kind = `${'name' in call ? call.name : call.do}: ${kindOf(call, answer)}`
  tally.set(kind, (tally.get(kind) ?? 0) + 1)
}

/** What tells one answer from another. */
function kindOf(call: Call, answer: Answer): string {
  if (isRefused(answer)) return answer.refused
  const { ok } = answer
  if (call.do === 'report') return String(ok.reason ?? ok.status)
  if (call.do === 'begin') return String(ok.outcome)
  if (call.do === 'poll') return (ok.given as unknown[]).length > 0 ? 'given' : 'nothing'
  if (ok.isNew === false) return 'replayed'
  if (call.do === 'settle' || call.do === 'resolve') return String(ok.state)
  return 'done'
}
