import type { Bench } from '../bench.ts'
import { dropDone, fillFinished, fillWaiting } from '../fill.ts'
import {
  type Act,
  acts,
  type Costs,
  compareSides,
  executors,
  noDearer,
  openSide,
  type Side,
  workMany,
  workOne,
} from '../sides.ts'
import type { Stage } from '../stage.ts'

const [small, large] = ['1,000 jobs', '1,000,000 jobs'] as const

export const growth: Bench = {
  name: 'growth',
  title: 'With a million jobs',
  how: [
    `Two databases on one Postgres, each with a replica of its own, in turn: one with ${small} that wait and as many that are finished, one with ${large} of each. All that wait can be claimed, by executors that all serve them.`,
    `A round does as many jobs as it submits, and what it has finished is deleted before the next: the tables keep their size. 16 clients submit one job a call, 2 a thousand a call; ${executors} executors poll for one job and report it, 4 for a hundred.`,
    'Figures: time by jobs.',
  ],
  goals: noDearer(1.5, Object.keys(acts) as Act[], small, [large]),
  run: async (stage, effort) => {
    const sides = [
      await openFilled(stage, small, 'small', 1_000),
      await openFilled(stage, large, 'large', effort.isShort ? 3_000 : 1_000_000),
    ] as const
    const jobs = effort.isShort ? { one: 100, many: 1_000 } : { one: 3_000, many: 20_000 }
    return await compareSides([...sides], effort, (side) => run(stage, side, jobs))
  },
}

async function openFilled(stage: Stage, name: string, database: string, jobs: number) {
  const side = await openSide(stage, name, database)
  await fillFinished(stage, database, { jobs, minutesOld: 1_440 })
  await fillWaiting(stage, database, { jobs, minutesOld: 60 })
  return side
}

async function run(
  stage: Stage,
  side: Side,
  { one, many }: { one: number; many: number },
): Promise<Costs> {
  const { load, database } = side
  await dropDone(stage, database)
  await stage.settle(database)
  const submitOne = await load.ask('submit', { jobs: one, size: 1, abreast: 16 })
  const submitMany = await load.ask('submit', { jobs: many, size: 1_000, abreast: 2 })
  return {
    submitOne: { jobs: one, seconds: submitOne },
    submitMany: { jobs: many, seconds: submitMany },
    workOne: await workOne(side, one),
    workMany: await workMany(side, many),
  }
}
