import type { Bench } from '../bench.ts'
import { fillDelayed, fillWaiting, type Heap } from '../fill.ts'
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

const nothing = 'behind nothing'
const requires = { gpu: 'nobody-has-it' }

/** What stands at the head of the queue, and how it comes there. */
const obstacles: {
  name: string
  fill(stage: Stage, database: string, heap: Heap): Promise<void>
  heap?: Partial<Heap>
}[] = [
  { name: 'behind 100,000 delayed', fill: fillDelayed },
  { name: 'behind 100,000 unservable', fill: fillWaiting, heap: { requires } },
  {
    name: 'behind 100,000 unservable of priority 9',
    fill: fillWaiting,
    heap: { requires, priority: 9 },
  },
]

export const headOfQueue: Bench = {
  name: 'head-of-queue',
  title: 'Behind jobs that nobody can claim',
  how: [
    'Four databases on one Postgres, each with a replica of its own, in turn. In all but one, 100,000 older jobs of the same queue and kind stand before those that are done: delayed until tomorrow, or requiring a label that no executor has, or that and of the highest priority.',
    `${executors} executors poll for one job and report it, 4 for a hundred. Figures: time by jobs.`,
  ],
  goals: noDearer(
    1.2,
    ['workOne', 'workMany'],
    nothing,
    obstacles.map(({ name }) => name),
  ),
  run: async (stage, effort) => {
    const behind: Side[] = []
    for (const { name, fill, heap } of obstacles) {
      const side = await openSide(stage, name, `behind_${behind.length}`)
      const jobs = effort.isShort ? 1_000 : 100_000
      await fill(stage, side.database, { jobs, minutesOld: 60, ...heap })
      behind.push(side)
    }
    const free = await openSide(stage, nothing, 'free')
    const jobs = effort.isShort ? { one: 100, many: 1_000 } : { one: 3_000, many: 20_000 }
    return await compareSides([free, ...behind], effort, (side) => run(stage, side, jobs))
  },
}

async function run(
  stage: Stage,
  side: Side,
  { one, many }: { one: number; many: number },
): Promise<Costs> {
  await side.load.ask('submit', { jobs: one + many, size: 1_000, abreast: 2 })
  await stage.settle(side.database)
  return { workOne: await workOne(side, one), workMany: await workMany(side, many) }
}
