import type { Bench } from '../bench.ts'
import {
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

const [one, thousand] = ['one queue', '1,000 queues'] as const

export const queues: Bench = {
  name: 'queues',
  title: 'In a thousand queues',
  how: [
    'Two databases on one Postgres, each with a replica of its own, in turn: one with 100,000 jobs that wait in a single queue, one with as many that are spread evenly over 1,000 queues. All executors serve all queues that there are.',
    `A round does as many jobs as it submits. One client submits a thousand jobs a call; ${executors} executors poll for one job and report it, 4 for a hundred. Figures: time by jobs.`,
  ],
  goals: noDearer(1.5, ['submitMany', 'workOne', 'workMany'], one, [thousand]),
  run: async (stage, effort) => {
    const count = effort.isShort ? 100 : 1_000
    const names = Array.from({ length: count }, (_, nth) => `queue-${nth}`)
    const sides = [
      await openSide(stage, one, 'one'),
      await openSide(stage, thousand, 'thousand', names),
    ] as const
    const waiting = effort.isShort ? 2_000 : 100_000
    for (const { load, queues } of sides) await load.ask('spread', { jobs: waiting, queues })
    const jobs = effort.isShort ? { one: 100, many: 1_000 } : { one: 3_000, many: 20_000 }
    return await compareSides([...sides], effort, (side) => run(stage, side, jobs))
  },
}

async function run(
  stage: Stage,
  side: Side,
  { one, many }: { one: number; many: number },
): Promise<Costs> {
  const { load, database, queues } = side
  await stage.settle(database)
  await load.ask('spread', { jobs: one, queues })
  const ones = await workOne(side, one)
  const seconds = await load.ask('spread', { jobs: many, queues })
  return {
    submitMany: { jobs: many, seconds },
    workOne: ones,
    workMany: await workMany(side, many),
  }
}
