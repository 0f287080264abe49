import type { Effort, Sheet } from './bench.ts'
import type { Contender, Work } from './load/contender.ts'
import type { Graphile } from './load/graphile-worker.ts'
import type { Boss } from './load/pg-boss.ts'
import type { Understudy } from './load/understudy.ts'
import type { LoadProcess } from './load-process.ts'
import type { Stage } from './stage.ts'
import { takeTurns } from './turns.ts'

/** Ours and theirs, in turn, on one Postgres: each has a database of its own there, and its turn alone. */

export interface Entrant {
  name: string
  database: string
  load: LoadProcess<Contender>
  /** How it does its work in this contest; its own best, as far as we could find it. */
  work: Work
}

export const names = { ours: 'Understudy', boss: 'pg-boss', graphile: 'graphile-worker' }

export async function enterOurs(stage: Stage, work: Work): Promise<Entrant> {
  const [replica] = await stage.startCluster()
  const load = stage.startLoad<Understudy>('understudy')
  await load.ask('open', { url: replica.url, token: replica.token, executors: work.abreast })
  return { name: names.ours, database: 'ours', load, work }
}

export async function enterBoss(stage: Stage, work: Work, sessions: number): Promise<Entrant> {
  const url = await stage.createDatabase('pg_boss')
  const load = stage.startLoad<Boss>('pg-boss')
  await load.ask('open', { url, sessions })
  return { name: names.boss, database: 'pg_boss', load, work }
}

export async function enterGraphile(stage: Stage, work: Work): Promise<Entrant> {
  const url = await stage.createDatabase('graphile')
  const load = stage.startLoad<Graphile>('graphile-worker')
  await load.ask('open', { url })
  return { name: names.graphile, database: 'graphile', load, work }
}

/** Jobs that are there, done: a rate for each entrant and round, and what the first is to the others. */
export async function raceWork(stage: Stage, entrants: Entrant[], effort: Effort) {
  return await race(entrants, effort, async ({ name, database, load, work }, sheet) => {
    await load.ask('submit', { jobs: work.jobs, size: 1_000, abreast: 2 })
    await stage.settle(database)
    sheet.note(name, 'jobs/s', work.jobs / (await load.ask('work', work)))
  })
}

/** Jobs submitted, and then done as fast as may be, so that no backlog grows over the rounds. */
export async function raceSubmits(
  stage: Stage,
  entrants: Entrant[],
  effort: Effort,
  submit: { jobs: number; size: number; abreast: number },
) {
  return await race(entrants, effort, async ({ name, database, load, work }, sheet) => {
    await stage.settle(database)
    sheet.note(name, 'jobs/s', submit.jobs / (await load.ask('submit', submit)))
    await load.ask('work', { ...work, jobs: submit.jobs })
  })
}

async function race(
  entrants: Entrant[],
  effort: Effort,
  run: (entrant: Entrant, sheet: Sheet) => Promise<void>,
) {
  const sheet = await takeTurns(entrants, effort, run)
  for (const { name } of entrants.slice(1)) sheet.ratio(against(name), names.ours, name)
  return sheet.all
}

/** What the ratio to a peer is called. */
export function against(peer: string): string {
  return `${names.ours} to ${peer}`
}
