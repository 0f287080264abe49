import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, Sheet } from '../bench.ts'
import { residentMiB } from '../cost.ts'
import type { Fleet } from '../load/fleet.ts'
import {
  callsOf,
  countedOf,
  counting,
  type Statement,
  startCounting,
  withoutLeadershipAndHeartbeats,
} from '../queries.ts'

const [memory, queries] = ['memory of the replica', 'queries'] as const
const atMost = { [memory]: 400, [queries]: 5 }

export const idlePolls: Bench = {
  name: 'idle-polls',
  title: '10,000 idle long polls',
  how: [
    'One replica, and 10,000 executors in one process, of which each has a poll of 25 s under way at all times, on a connection of its own, and beats every 5 s. There are no jobs.',
    'Rounds of 30 s. Memory: resident, at the end of each. Queries: calls that pg_stat_statements counts in the database, without those of leadership (pings, each replica’s look at the schema and at who leads) and the transactions of heartbeats.',
  ],
  settings: counting,
  goals: [
    { letter: 'e', series: memory, atMost: atMost[memory] },
    { letter: 'e', series: queries, atMost: atMost[queries] },
  ],
  run: async (stage, { rounds, isShort, step }) => {
    const [{ url, token, pid }] = await stage.startCluster()
    const executors = isShort ? 100 : 10_000
    step('executors register')
    const fleet = stage.startLoad<Fleet>('fleet')
    await fleet.ask('open', { url, token, executors })
    const seconds = isShort ? 3 : 30
    step('warms up')
    await sleep(seconds * 1_000)
    const sheet = new Sheet()
    for (let round = 1; round <= rounds; round += 1) {
      step(`round ${round} of ${rounds}`)
      await startCounting(stage)
      await fleet.ask('look', null)
      const since = performance.now()
      await sleep(seconds * 1_000)
      const counted = withoutLeadershipAndHeartbeats(await countedOf(stage, 'ours'))
      const took = (performance.now() - since) / 1_000
      const { polls, beats } = await fleet.ask('look', null)
      sheet.note('polls under way', '', polls)
      sheet.note('heartbeats', 'heartbeats/s', beats / took)
      sheet.note(memory, 'MiB', residentMiB(pid))
      sheet.note(queries, 'queries/s', callsOf(counted) / took)
      if (callsOf(counted) / took > atMost[queries]) tellMost(counted, took)
    }
    return sheet.all
  },
}

function tellMost(counted: Statement[], seconds: number): void {
  for (const { query, calls } of counted.slice(0, 10)) {
    const text = query.replaceAll(/\s+/g, ' ').trim().slice(0, 120)
    process.stdout.write(`${(calls / seconds).toFixed(2)} queries/s: ${text}\n`)
  }
}
