import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Drill } from './drill.ts'
import { type Figures, figuresOf, type Window } from './figures.ts'
import { check } from './history/check.ts'
import { parseCommits } from './history/commits.ts'
import type { HistoryEvent } from './history/events.ts'
import { explain } from './history/explain.ts'
import { readHistory } from './history/read.ts'
import { monotonic } from './history/record.ts'
import type { Build } from './stage/build.ts'
import type { HeardLine } from './stage/replica.ts'
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
  /** Leases that ended without a word of their executor. */
  reclaims: number
  events: number
  seconds: number
  folder: string
}

export interface RunOptions {
  /** Where the history and all logs go. */
  folder: string
  /** How often the fault is done, on one stage. Default: once. */
  runs?: number
  onStep?(step: string): void
  /** Of the replicas; default: this one. */
  build?: Build | undefined
}

const explained = 3

/** One drill, from an empty folder to a verdict. */
export async function runDrill(drill: Drill, options: RunOptions): Promise<DrillResult> {
  const { folder, onStep, build } = options
  const startedAt = performance.now()
  const complaints: string[] = []
  const windows: Window[] = []
  onStep?.('building the stage')
  const stage = await Stage.start(folder, { ...drill.stage, ...(build && { build }) })
  try {
    await perform(drill, stage, options, windows)
  } catch (error) {
    complaints.push(error instanceof Error ? error.message : `${error}`)
  }
  onStep?.('reading what was committed')
  await stage.silence()
  await writeCommits(stage, folder).catch((error) => complaints.push(`no commits: ${error}`))
  await stage.tearDown().catch((error) => complaints.push(`${error}`))
  onStep?.('checking the history')
  const events = await readHistory(folder)
  const violations = check(events)
  const lines = stage.replicas.flatMap((replica) => replica.lines)
  const runs = windows.map((window) => figuresOf(events, window, lines))
  complaints.push(...judgePromotions(drill, runs, lines))
  return {
    drill: drill.name,
    ok: complaints.length === 0 && violations.length === 0,
    complaints,
    violations: violations.map(({ invariant, rule, what }) => ({ invariant, rule, what })),
    counterexamples: violations.slice(0, explained).map((each) => explain(each, events)),
    runs,
    reclaims: countReclaims(events),
    events: events.length,
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    folder,
  }
}

/** A leader may always lose a busy machine's trust in itself: what it must not is make way for nothing. */
function judgePromotions({ promotes }: Drill, runs: Figures[], lines: HeardLine[]): string[] {
  if (promotes)
    return runs.every(({ promoted_ms }) => promoted_ms !== null) ? [] : ['nobody was promoted']
  const reasons = lines
    .filter(({ msg, reason }) => msg === 'leadership ended' && reason !== 'hand_over')
    .map(({ reason = 'unknown' }) => reason)
  return reasons.every((reason) => reason === 'trust_expired')
    ? []
    : [`a term ended, for nothing: ${reasons.join(', ')}`]
}

async function perform(
  drill: Drill,
  stage: Stage,
  { runs = 1, onStep }: RunOptions,
  windows: Window[],
): Promise<void> {
  for (let run = 1; run <= runs; run += 1) {
    onStep?.(runs === 1 ? drill.title : `${drill.title}: ${run} of ${runs}`)
    const from = monotonic()
    await drill.run(stage)
    windows.push({ from, until: monotonic() })
  }
  onStep?.('draining')
  await stage.drain()
}

async function writeCommits(stage: Stage, folder: string): Promise<void> {
  const commits = parseCommits(await stage.postgres.decode())
  const lines = commits.map((commit) => `${JSON.stringify(commit)}\n`)
  await writeFile(join(folder, 'commits.jsonl'), lines.join(''))
}

function countReclaims(events: HistoryEvent[]): number {
  return events
    .filter((event) => event.type === 'commit')
    .flatMap(({ changes }) => changes)
    .filter(({ table, row }) => table === 'attempts' && row.outcome === 'lost').length
}
