import fc from 'fast-check'
import { isUnanswered } from './calls.ts'
import type { Step } from './commands.ts'
import { sequences } from './errands.ts'
import { kindOf } from './kinds.ts'
import { Disagreement, type OnAnswer, Sequence, type System } from './sequence.ts'
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
  /** Calls that were drawn, by what was asked and what it came to. */
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
    // Who wants to see one fail again does not want it to pass for want of answers.
    const run = path === undefined ? Sequence.run : runAnswered
    await run(system, steps, (call, answer, change) => {
      const kind = kindOf(call, answer, change)
      tally.set(kind, (tally.get(kind) ?? 0) + 1)
    })
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

const mostTries = 5

/** What passes because the database did not answer shows nothing, and is run again. Throws Disagreement. */
async function runAnswered(system: System, steps: Step[], onAnswer: OnAnswer): Promise<void> {
  for (let tries = 1; tries <= mostTries; tries += 1) {
    let isAnswered = true
    await Sequence.run(system, steps, (call, answer, change) => {
      if (isUnanswered(answer)) isAnswered = false
      onAnswer(call, answer, change)
    })
    if (isAnswered) return
  }
}

/** What is told of a sequence that fails. */
export async function failureOf(system: System, steps: Step[]): Promise<string[] | undefined> {
  try {
    await runAnswered(system, steps, () => undefined)
    return undefined
  } catch (error) {
    return storyOf(error)
  }
}

function storyOf(error: unknown): string[] {
  return error instanceof Disagreement ? error.story : [String((error as Error).stack)]
}
