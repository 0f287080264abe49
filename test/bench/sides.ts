import type { Effort, Goal, Series } from './bench.ts'
import type { Understudy } from './load/understudy.ts'
import type { LoadProcess } from './load-process.ts'
import type { Stage } from './stage.ts'
import { takeTurns } from './turns.ts'

/** Control planes that differ in what stands in their tables, in turn on one Postgres. */

export interface Side {
  name: string
  database: string
  queues: string[]
  load: LoadProcess<Understudy>
}

/** As many poll for one job a call; of those that poll for many, there are fewer. */
export const executors = 64

export async function openSide(
  stage: Stage,
  name: string,
  database: string,
  queues = ['default'],
): Promise<Side> {
  const [{ url, token }] = await stage.startCluster(database)
  const load = stage.startLoad<Understudy>('understudy')
  await load.ask('open', { url, token, executors, queues })
  return { name, database, queues, load }
}

/** What jobs cost. */
export const acts = {
  submitOne: 'submit, one a call',
  submitMany: 'submit, a thousand a call',
  workOne: 'poll and report, one a call',
  workMany: 'poll and report, a hundred a call',
} as const
export type Act = keyof typeof acts

/** Seconds that so many jobs took, by act. */
export type Costs = Partial<Record<Act, { jobs: number; seconds: number }>>

/** Time by jobs for each side and act, and what it is to that of the first side. */
export async function compareSides(
  sides: [Side, ...Side[]],
  effort: Effort,
  run: (side: Side) => Promise<Costs>,
): Promise<Series[]> {
  const sheet = await takeTurns(sides, effort, async (side, sheet) => {
    for (const [act, { jobs, seconds }] of entries(await run(side))) {
      sheet.note(`${acts[act]}, ${side.name}`, 'µs a job', (seconds / jobs) * 1e6)
    }
  })
  const [first, ...others] = sides
  for (const [act, name] of entries(acts)) {
    for (const other of others) {
      const ratio = ratioName(act, other.name, first.name)
      sheet.ratio(ratio, `${name}, ${other.name}`, `${name}, ${first.name}`)
    }
  }
  return sheet.all
}

function ratioName(act: Act, side: string, first: string): string {
  return `${acts[act]}: ${side} to ${first}`
}

/** No such act may cost more than so many times what it costs on the first side. */
export function noDearer(atMost: number, measured: Act[], first: string, others: string[]): Goal[] {
  return others.flatMap((side) =>
    measured.map((act) => ({ letter: 'e', series: ratioName(act, side, first), atMost })),
  )
}

function entries<Key extends string, Value>(of: Partial<Record<Key, Value>>): [Key, Value][] {
  return Object.entries(of) as [Key, Value][]
}

/** One job a call, by all executors. */
export async function workOne({ load }: Side, jobs: number) {
  return { jobs, seconds: await load.ask('work', { jobs, size: 1, abreast: executors }) }
}

/** A hundred a call, by four executors. */
export async function workMany({ load }: Side, jobs: number) {
  return { jobs, seconds: await load.ask('work', { jobs, size: 100, abreast: 4 }) }
}
