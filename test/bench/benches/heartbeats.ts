import { type Bench, Sheet } from '../bench.ts'
import { CpuWatch } from '../cost.ts'
import { percentile } from '../figures.ts'
import type { Understudy } from '../load/understudy.ts'
import type { Heartbeats } from '../load/understudy-heartbeats.ts'
import type { Stage } from '../stage.ts'

/** A fleet of which each holds one job, as busy executors do. */
async function startFleet(stage: Stage, executors: number) {
  const [replica] = await stage.startCluster()
  const { url, token } = replica
  const client = stage.startLoad<Understudy>('understudy')
  await client.ask('open', { url, token, executors: 0 })
  await client.ask('submit', { jobs: executors, size: 1_000, abreast: 1 })
  const fleet = stage.startLoad<Heartbeats>('understudy-heartbeats')
  const connections = Math.min(executors, 512)
  await fleet.ask('open', { url, token, executors, connections, holding: executors })
  await stage.settle('ours')
  return { replica, fleet }
}

export const heartbeats: Bench = {
  name: 'heartbeats',
  title: 'Heartbeats',
  how: [
    'One replica; 1,000 executors, of which each holds a job, send 5,500 heartbeats a second between them, when they are due, whether or not earlier ones were answered; each is answered after its commit.',
    'Rate: heartbeats answered, by the time until the last one was. p99: from when each was due until its answer.',
  ],
  goals: [
    { letter: 'd', series: 'answered', atLeast: 5_000 },
    { letter: 'd', series: 'p99', atMost: 100 },
  ],
  run: async (stage, { rounds, isShort, step }) => {
    const { fleet } = await startFleet(stage, isShort ? 100 : 1_000)
    const perSecond = isShort ? 200 : 5_500
    await fleet.ask('beat', { perSecond, seconds: isShort ? 1 : 5 })
    const sheet = new Sheet()
    for (let round = 1; round <= rounds; round += 1) {
      step(`round ${round} of ${rounds}`)
      const { took, seconds } = await fleet.ask('beat', { perSecond, seconds: isShort ? 1 : 10 })
      sheet.note('answered', 'heartbeats/s', took.length / seconds)
      sheet.note('p50', 'ms', percentile(took, 0.5))
      sheet.note('p99', 'ms', percentile(took, 0.99))
    }
    return sheet.all
  },
}

export const fleet: Bench = {
  name: 'fleet',
  title: 'A fleet of 10,000 executors',
  how: [
    'One replica; 10,000 executors, of which each holds a job, beat every 5 s: 2,000 heartbeats a second, spread evenly.',
    'CPU in percent of one core, of the replica’s process and of all of Postgres.',
  ],
  goals: [
    { letter: 'd', series: 'CPU of the replica', atMost: 60 },
    { letter: 'd', series: 'CPU of Postgres', atMost: 40 },
  ],
  run: async (stage, { rounds, isShort, step }) => {
    step('executors register, and claim')
    const executors = isShort ? 200 : 10_000
    const { replica, fleet } = await startFleet(stage, executors)
    const perSecond = executors / 5
    await fleet.ask('beat', { perSecond, seconds: isShort ? 1 : 5 })
    const sheet = new Sheet()
    for (let round = 1; round <= rounds; round += 1) {
      step(`round ${round} of ${rounds}`)
      const watch = new CpuWatch({ replica: replica.pid, Postgres: stage.postgresPid })
      const { took } = await fleet.ask('beat', { perSecond, seconds: isShort ? 1 : 10 })
      const { replica: ours = 0, Postgres: theirs = 0 } = watch.shares()
      sheet.note('CPU of the replica', '%', ours)
      sheet.note('CPU of Postgres', '%', theirs)
      sheet.note('p50', 'ms', percentile(took, 0.5))
      sheet.note('p99', 'ms', percentile(took, 0.99))
    }
    return sheet.all
  },
}
