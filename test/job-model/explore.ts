import fc from 'fast-check'
import type { Answer, Call } from './calls.ts'
import { isRefused } from './calls.ts'
import type { Step } from './commands.ts'
import { sequences } from './draw.ts'
import { Disagreement, Sequence, type System } from './sequence.ts'
import { shorten } from './shorten.ts'

export interface Exploration {
  runs: number
  seed: number
  /** Of an earlier failure: it alone is run again. */
  path?: string | undefined
  /** How long a sequence that failed may be made shorter. */
  shrinkMs: number
  onRun?(done: number): void
  onFailure?(): void
}

export interface Found {
  runs: number
  /** Calls, by what was asked and what was answered. */
  tally: Map<string, number>
  /** The shortest sequence that was found to fail, told, and where it was drawn; undefined: none did. */
  failure: { path: string; story: string[]; tries: number } | undefined
}

/** Runs sequences drawn by lot, one after the other, until one fails, which is made shorter as long as it goes on failing. */
export async function explore(system: System, options: Exploration): Promise<Found> {
  const { seed, path, onRun, onFailure } = options
  const tally = new Map<string, number>()
  let runs = 0
  let story: string[] = []
  const property = fc.asyncProperty(sequences, async (steps) => {
    await Sequence.run(system, steps, (call, answer) => count(tally, call, answer))
    runs += 1
    onRun?.(runs)
  })
  // Made shorter by leaving out alone: fast-check knows of no steps in what an errand has drawn.
  const details = await fc.check(property, {
    numRuns: path === undefined ? options.runs : 1,
    endOnFailure: true,
    seed,
    ...(path !== undefined && { path }),
  })
  const { counterexample, counterexamplePath, errorInstance } = details
  if (!counterexample) return { runs, tally, failure: undefined }
  onFailure?.()
  story = storyOf(errorInstance)
  const until = performance.now() + options.shrinkMs
  const fails = async (steps: Step[]) => {
    if (performance.now() > until) return false
    const failure = await failureOf(system, steps)
    if (failure) story = failure
    return failure !== undefined
  }
  const { tries } = await shorten(counterexample[0], fails)
  return { runs, tally, failure: { path: counterexamplePath ?? '', story, tries } }
}

async function failureOf(system: System, steps: Step[]): Promise<string[] | undefined> {
  try {
    await Sequence.run(system, steps, () => undefined)
    return undefined
  } catch (error) {
    return storyOf(error)
  }
}

function storyOf(error: unknown): string[] {
  return error instanceof Disagreement ? error.story : [String((error as Error).stack)]
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
