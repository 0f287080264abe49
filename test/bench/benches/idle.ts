import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, Sheet } from '../bench.ts'
import type { Fleet } from '../load/fleet.ts'
import type { LoadProcess } from '../load-process.ts'
import {
  callsOf,
  countedOf,
  counting,
  startCounting,
  withoutLeadershipAndHeartbeats,
} from '../queries.ts'
import type { Stage } from '../stage.ts'

interface Site {
  name: string
  database: string
  fleet: LoadProcess<Fleet> | undefined
}

export const idle: Bench = {
  name: 'idle',
  title: 'What an idle control plane asks of Postgres',
  how: [
    'Three databases, each with two replicas, active and standby, and with 0, 100 or 1,000 executors that poll for 25 s at a time, and beat every 5 s. There are no jobs. All three are watched at once, in rounds of 20 s.',
    'Queries: calls that pg_stat_statements counts, BEGIN and COMMIT included, and those of them that are neither leadership (pings, each replica’s look at the schema and at who leads, the wait for the lock) nor transactions of heartbeats. Rows written: inserted, updated and deleted, of pg_stat_database.',
  ],
  settings: counting,
  goals: [],
  run: async (stage, { rounds, isShort, step }) => {
    const sites: Site[] = []
    for (const executors of isShort ? [0, 10] : [0, 100, 1_000]) {
      step(`${executors} executors register`)
      sites.push(await open(stage, executors))
    }
    const seconds = isShort ? 4 : 20
    step('warms up')
    await sleep(seconds * 1_000)
    const sheet = new Sheet()
    for (let round = 1; round <= rounds; round += 1) {
      step(`round ${round} of ${rounds}`)
      await measure(stage, sites, seconds, sheet)
    }
    return sheet.all
  },
}

async function open(stage: Stage, executors: number): Promise<Site> {
  const site = { name: `${executors} executors`, database: `idle_${executors}` }
  const [{ url, token }] = await stage.startCluster(site.database, 2)
  if (executors === 0) return { ...site, fleet: undefined }
  const fleet = stage.startLoad<Fleet>('fleet')
  await fleet.ask('open', { url, token, executors })
  return { ...site, fleet }
}

async function measure(stage: Stage, sites: Site[], seconds: number, sheet: Sheet): Promise<void> {
  await startCounting(stage)
  const written = new Map<string, number>()
  for (const { database } of sites) written.set(database, await rowsWritten(stage, database))
  const since = performance.now()
  await sleep(seconds * 1_000)
  const took = (performance.now() - since) / 1_000
  for (const { name, database, fleet } of sites) {
    const counted = await countedOf(stage, database)
    const rows = (await rowsWritten(stage, database)) - (written.get(database) ?? 0)
    // Throws if a call has failed.
    await fleet?.ask('look', null)
    const others = withoutLeadershipAndHeartbeats(counted)
    sheet.note(`${name}: queries`, 'queries/s', callsOf(counted) / took)
    sheet.note(`${name}: but for leadership and heartbeats`, 'queries/s', callsOf(others) / took)
    sheet.note(`${name}: rows written`, 'rows/min', (rows / took) * 60)
  }
}

async function rowsWritten(stage: Stage, database: string): Promise<number> {
  const [row] = await stage.sql<{ rows: string }>(
    'postgres',
    `SELECT tup_inserted + tup_updated + tup_deleted AS rows
      FROM pg_stat_database WHERE datname = $1`,
    [database],
  )
  return Number(row?.rows)
}
