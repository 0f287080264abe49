import type { Bench, Sheet } from '../bench.ts'
import { dropDone, fillFinished, fillWaiting } from '../fill.ts'
import type { Understudy } from '../load/understudy.ts'
import type { LoadProcess } from '../load-process.ts'
import type { Stage } from '../stage.ts'
import { takeTurns } from '../turns.ts'

interface Side {
  name: string
  database: string
  load: LoadProcess<Understudy>
}

const executors = 64
const [small, large] = ['1,000 jobs', '1,000,000 jobs'] as const
const figures = {
  submitOne: 'submit, one a call',
  submitMany: 'submit, a thousand a call',
  workOne: 'poll and report, one a call',
  workMany: 'poll and report, a hundred a call',
}
const ratioOf = (figure: string) => `${figure}: ${large} to ${small}`

export const growth: Bench = {
  name: 'growth',
  title: 'With a million jobs',
  how: [
    `Two databases on one Postgres, each with a replica of its own, in turn: one with ${small} that wait and as many that are finished, one with ${large} of each. All that wait can be claimed, by executors that all serve them.`,
    `A round submits as many jobs as it does, and what it has finished is deleted before the next: the tables keep their size. 16 clients submit one job a call, 2 a thousand a call; ${executors} executors poll for one job and report it, 4 for a hundred.`,
    'Figures: time by jobs.',
  ],
  goals: Object.values(figures).map((figure) => ({
    letter: 'e',
    series: ratioOf(figure),
    atMost: 1.5,
  })),
  run: async (stage, effort) => {
    const sides = [
      await open(stage, small, 'small', 1_000),
      await open(stage, large, 'large', effort.isShort ? 10_000 : 1_000_000),
    ]
    const jobs = effort.isShort ? { one: 200, many: 2_000 } : { one: 3_000, many: 20_000 }
    const sheet = await takeTurns(sides, effort, (side, sheet) => run(stage, side, jobs, sheet))
    for (const figure of Object.values(figures)) {
      sheet.ratio(ratioOf(figure), `${figure}, ${large}`, `${figure}, ${small}`)
    }
    return sheet.all
  },
}

async function open(stage: Stage, name: string, database: string, jobs: number): Promise<Side> {
  const [{ url, token }] = await stage.startCluster(database)
  await fillFinished(stage, database, { jobs, minutesOld: 1_440 })
  await fillWaiting(stage, database, { jobs, minutesOld: 60 })
  const load = stage.startLoad<Understudy>('understudy')
  await load.ask('open', { url, token, executors })
  return { name, database, load }
}

async function run(
  stage: Stage,
  { name, database, load }: Side,
  jobs: { one: number; many: number },
  sheet: Sheet,
): Promise<void> {
  await dropDone(stage, database)
  await stage.settle(database)
  const { one, many } = jobs
  const note = (figure: string, seconds: number, jobs: number) =>
    sheet.note(`${figure}, ${name}`, 'µs a job', (seconds / jobs) * 1e6)
  note(figures.submitOne, await load.ask('submit', { jobs: one, size: 1, abreast: 16 }), one)
  note(figures.submitMany, await load.ask('submit', { jobs: many, size: 1_000, abreast: 2 }), many)
  note(figures.workOne, await load.ask('work', { jobs: one, size: 1, abreast: executors }), one)
  note(figures.workMany, await load.ask('work', { jobs: many, size: 100, abreast: 4 }), many)
}
