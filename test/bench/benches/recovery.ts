import type { LeaderAnswer } from '../../../src/contract/cluster.ts'
import { until } from '../../drills/stage/until.ts'
import type { Bench, Sheet } from '../bench.ts'
import { fillFinished, fillLeased, fillWaiting } from '../fill.ts'
import type { Replica, Stage } from '../stage.ts'
import { takeTurns } from '../turns.ts'

interface Pair {
  name: string
  database: string
  leased: number
  active: Replica
  standby: Replica
}

/** Jobs leased, and waiting; as many as those are finished. */
const contents = [
  { name: '1,000 leased beside 2,000 jobs', leased: 1_000, others: 1_000 },
  { name: '1,000 leased beside 2,000,000 jobs', leased: 1_000, others: 1_000_000 },
  { name: '10,000 leased beside 2,000 jobs', leased: 10_000, others: 1_000 },
] as const
const [small, large, manyLeased] = contents
const ratio = '2,000,000 jobs to 2,000'

export const recovery: Bench = {
  name: 'recovery',
  title: 'Recovery after kill -9',
  how: [
    'Three databases on one Postgres, each with an active replica and a standby, in turn: the active is killed, the standby leads, and a new standby is started for the next round. Leased jobs: ten by each executor; besides them as many wait as are finished.',
    'Recovery: from the promotion until the gate opens, of the replica’s own metrics; GET /v1/leader has its phases in whole milliseconds.',
  ],
  goals: [{ letter: 'e', series: ratio, atMost: 1.5 }],
  run: async (stage, effort) => {
    const pairs: Pair[] = []
    for (const content of contents) {
      effort.step(`${content.name} are filled in`)
      pairs.push(await open(stage, content, `pair_${pairs.length}`, effort.isShort))
    }
    const sheet = await takeTurns(pairs, effort, (pair, sheet) => fail(stage, pair, sheet))
    sheet.ratio(ratio, large.name, small.name)
    sheet.ratio('10,000 leased to 1,000', manyLeased.name, small.name)
    return sheet.all
  },
}

async function open(
  stage: Stage,
  { name, leased, others }: (typeof contents)[number],
  database: string,
  isShort: boolean,
): Promise<Pair> {
  const [active, standby] = await stage.startCluster(database, 2)
  if (!standby) throw new Error('there is no standby')
  const counts = { leased: isShort ? leased / 10 : leased, others: isShort ? others / 100 : others }
  await fillFinished(stage, database, { jobs: counts.others, minutesOld: 1_440 })
  await fillWaiting(stage, database, { jobs: counts.others, minutesOld: 60 })
  await fillLeased(stage, database, { jobs: counts.leased, minutesOld: 120 })
  await stage.settle(database)
  await untilWaiting(stage, database)
  return { name, database, leased: counts.leased, active, standby }
}

async function fail(stage: Stage, pair: Pair, sheet: Sheet): Promise<void> {
  const { name, database, active, standby } = pair
  active.kill('SIGKILL')
  const { recovery } = await until('the standby does not lead', () => findLead(standby))
  const loaded = recovery.find(({ phase }) => phase === 'load_memory')
  if (loaded?.counts.leases !== pair.leased) throw new Error(`${pair.leased} jobs were leased`)
  sheet.note(name, 'ms', await recoveryMs(standby))
  const next = await stage.startReplica(active.name, database)
  Object.assign(pair, { active: standby, standby: next })
  // What it takes to start is not to slow down the recovery of the pair whose turn is next.
  await untilWaiting(stage, database)
}

/** Until the standby has waited for the lock for longer than one slice: it has rehearsed. */
function untilWaiting(stage: Stage, database: string): Promise<true> {
  return until('no replica stands for election', async () => {
    const waiters = await stage.sql(
      database,
      `SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND objsubid = 1 AND NOT granted
          AND datname = current_database()
          AND backend_start < clock_timestamp() - interval '2 seconds'`,
    )
    return waiters.length > 0 || undefined
  })
}

async function findLead({ url, token }: Replica): Promise<LeaderAnswer | undefined> {
  const headers = { authorization: `Bearer ${token}` }
  const answer = await fetch(`${url}/v1/leader`, { headers })
  const leader = (await answer.json()) as LeaderAnswer
  return leader.role === 'active' ? leader : undefined
}

/** Of the only recovery that this replica has ever done. */
async function recoveryMs({ url }: Replica): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const sum = /^understudy_recovery_seconds_sum(?:\{.*\})? (\S+)$/m.exec(text)?.[1]
  return Number(sum) * 1_000
}
