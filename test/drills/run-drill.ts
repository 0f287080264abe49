import { randomInt } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Build } from '../support/build.ts'
import type { Drill } from './drill.ts'
import { type Figures, figuresOf, type Window } from './figures.ts'
import { check } from './history/check.ts'
import { parseCommits } from './history/commits.ts'
import { explain } from './history/explain.ts'
import { readHistory } from './history/read.ts'
import { monotonic } from './history/record.ts'
import { countReclaims, judge } from './judge.ts'
import { Stage } from './stage/stage.ts'

export interface DrillResult {
  drill: string
  ok: boolean
  /** What went wrong besides the history: something that did not come, a promotion for nothing, … */
  complaints: string[]
  violations: { invariant: number; rule: string; what: string }[]
  /** The first violations, with what happened around them. */
  counterexamples: string[]
  runs: Figures[]
  /** Why terms ended, and how often. */
  ends: Record<string, number>
  /** Leases that ended without a word of their executor. */
  reclaims: number
  events: number
  seconds: number
  /** What the drill itself has to tell. */
  notes: string[]
  folder: string
}

export interface RunOptions {
  /** Where the history and all logs go. */
  folder: string
  /** How often the fault is done, on one stage. Default: once. */
  runs?: number
  /** How long a drill of many faults goes on. Default: 5. */
  minutes?: number | undefined
  /** Of its dice. Default: another one each time. */
  seed?: number | undefined
  onStep?(step: string): void
  /** Of the replicas; default: this one. */
  build?: Build | undefined
}

const explained = 3

/** One drill, from an empty folder to a verdict. Whatever fails makes it a red one. */
export async function runDrill(drill: Drill, options: RunOptions): Promise<DrillResult> {
  const startedAt = performance.now()
  const result: DrillResult = {
    ...{ drill: drill.name, ok: false, complaints: [], violations: [], counterexamples: [] },
    ...{ runs: [], ends: {}, reclaims: 0, events: 0, seconds: 0, notes: [] },
    folder: options.folder,
  }
  try {
    await carryOut(drill, options, result)
  } catch (error) {
    result.complaints.push(told(error))
  }
  result.ok = result.complaints.length === 0 && result.violations.length === 0
  result.seconds = Math.round((performance.now() - startedAt) / 100) / 10
  return result
}

async function carryOut(drill: Drill, options: RunOptions, result: DrillResult): Promise<void> {
  const { folder, onStep, build } = options
  onStep?.('building the stage')
  const stage = await Stage.start(folder, { ...drill.stage, ...(build && { build }) })
  let windows: Window[] = []
  try {
    windows = await perform(drill, stage, options, result)
    onStep?.('reading what was committed')
    await stage.silence()
    await writeCommits(stage, folder)
  } finally {
    await stage.tearDown()
  }
  onStep?.('checking the history')
  const events = await readHistory(folder)
  const violations = check(events)
  const lines = stage.replicas.flatMap((replica) => replica.lines)
  result.violations = violations.map(({ invariant, rule, what }) => ({ invariant, rule, what }))
  result.counterexamples = violations.slice(0, explained).map((each) => explain(each, events))
  result.runs = windows.map((window) => figuresOf(events, window, lines))
  result.events = events.length
  result.reclaims = countReclaims(events)
  result.notes.push(...(drill.describe?.(events) ?? []))
  for (const { msg, reason } of lines) {
    if (msg === 'leadership ended' && reason) result.ends[reason] = (result.ends[reason] ?? 0) + 1
  }
  if (result.complaints.length === 0) result.complaints = judge(drill, events, result.runs, lines)
}

/** What does not come is a complaint; the history up to there is judged all the same. */
async function perform(
  drill: Drill,
  stage: Stage,
  { runs = 1, minutes = 5, seed = randomInt(2 ** 31), onStep }: RunOptions,
  { complaints, notes }: DrillResult,
): Promise<Window[]> {
  const windows: Window[] = []
  const times = drill.isOnce ? 1 : runs
  try {
    for (let run = 1; run <= times; run += 1) {
      onStep?.(times === 1 ? drill.title : `${drill.title}: ${run} of ${times}`)
      const from = monotonic()
      await drill.run(stage, { minutes, seed, note: (line) => notes.push(line) })
      windows.push({ from, until: monotonic() })
    }
    onStep?.('draining')
    await stage.drain()
  } catch (error) {
    complaints.push(told(error))
  }
  return windows
}

async function writeCommits(stage: Stage, folder: string): Promise<void> {
  const commits = parseCommits(await stage.postgres.decode())
  const lines = commits.map((commit) => `${JSON.stringify(commit)}\n`)
  await writeFile(join(folder, 'commits.jsonl'), lines.join(''))
}

function told(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`
}
