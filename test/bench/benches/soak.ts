import { setTimeout as sleep } from 'node:timers/promises'
import { type Bench, type Goal, type Series, Sheet } from '../bench.ts'
import { residentMiB } from '../cost.ts'
import type { Mixed } from '../load/mixed.ts'
import type { LoadProcess } from '../load-process.ts'
import type { Replica, Stage } from '../stage.ts'

/** What is looked at, and how far the last quarter may be from the second. */
const figures = {
  throughput: { unit: 'jobs/s', atLeast: 0.9 },
  'p99 of a submit': { unit: 'ms', atMost: 1.2 },
  'p99 from poll to report': { unit: 'ms', atMost: 1.2 },
  'p99 from submit to report': { unit: 'ms', atMost: 1.2 },
  'memory of the replica': { unit: 'MiB', atMost: 1.2 },
  WAL: { unit: 'bytes a job', atMost: 1.2 },
  'tables and indexes': { unit: 'bytes a kept job', atMost: 1.2 },
  'dead rows of jobs': { unit: 'rows', atMost: 1.5 },
  'index of claimable jobs': { unit: 'KiB', atMost: 1.5 },
  'index of leases': { unit: 'KiB', atMost: 1.5 },
} as const
type Figure = keyof typeof figures
type Sample = Record<Figure, number>

const drift = (figure: string) => `${figure}: last quarter to second`

export const soak: Bench = {
  name: 'soak',
  title: 'Ten minutes at 70 % of capacity',
  how: [
    'One replica, and one process with 32 executors, which poll for up to ten jobs, report them and beat, and with clients that submit half of the jobs one a call and half a hundred a call. Capacity is measured first, for a minute, with a backlog of a thousand jobs; then jobs are submitted at 70 % of it, when they are due, whether or not earlier calls were answered.',
    'A sample every 30 s: its time alone for rates and percentiles. p99 of a submit: of those of one job, from when it was due until its answer; from poll to report: from the answer to the one until the answer to the other.',
    'It runs once, whatever the number of rounds: what is given as rounds are samples. Drift: the mean of the last quarter to that of the second; the first is warm-up. No job is ever pruned, so that tables grow with what is kept: their size, with indexes and attempts, is given by kept job.',
  ],
  // Checkpoints come by the clock alone: five minutes after the one at the start, so that either quarter is as far from one.
  settings: { max_wal_size: '8GB' },
  goals: Object.entries(figures).map(
    ([figure, bound]): Goal => ({ letter: 'f', series: drift(figure), ...goalOf(bound) }),
  ),
  run: async (stage, { isShort, step }) => {
    const [replica] = await stage.startCluster()
    const load = stage.startLoad<Mixed>('mixed')
    await load.ask('open', { url: replica.url, token: replica.token, executors: 32 })
    step('measures capacity')
    await load.ask('saturate', { seconds: isShort ? 1 : 15 })
    const capacity = await load.ask('saturate', { seconds: isShort ? 2 : 60 })
    await stage.settle('ours')
    await load.ask('flow', { perSecond: 0.7 * capacity })
    const sheet = new Sheet()
    sheet.note('capacity', 'jobs/s', capacity)
    const [samples, seconds] = isShort ? [8, 1] : [20, 30]
    let before = await lookAtTables(stage)
    for (let nth = 1; nth <= samples; nth += 1) {
      step(`sample ${nth} of ${samples}`)
      await sleep(seconds * 1_000)
      before = await note(stage, load, replica, before, sheet)
    }
    await load.ask('halt', null)
    for (const name of Object.keys(figures)) sheet.note(drift(name), '×', driftOf(sheet.all, name))
    return sheet.all
  },
}

function goalOf(bound: { atLeast: number } | { atMost: number }) {
  return 'atLeast' in bound ? { atLeast: bound.atLeast } : { atMost: bound.atMost }
}

async function note(
  stage: Stage,
  load: LoadProcess<Mixed>,
  replica: Replica,
  before: Tables,
  sheet: Sheet,
): Promise<Tables> {
  const look = await load.ask('look', null)
  const tables = await lookAtTables(stage)
  const sample: Sample = {
    throughput: look.done / look.seconds,
    'p99 of a submit': look.submitMs,
    'p99 from poll to report': look.reportMs,
    'p99 from submit to report': look.throughMs,
    'memory of the replica': residentMiB(replica.pid),
    WAL: (tables.wal - before.wal) / look.done,
    'tables and indexes': tables.bytes / look.kept,
    'dead rows of jobs': tables.dead,
    'index of claimable jobs': tables.claimable / 1_024,
    'index of leases': tables.leased / 1_024,
  }
  for (const [figure, { unit }] of Object.entries(figures)) {
    sheet.note(figure, unit, sample[figure as Figure])
  }
  sheet.note('calls that failed', '', look.failures)
  return tables
}

interface Tables {
  /** Bytes since the beginning of time. */
  wal: number
  /** Rows of jobs that are dead, and not yet cleaned away. */
  dead: number
  /** Bytes of all that is kept of jobs. */
  bytes: number
  claimable: number
  leased: number
}

async function lookAtTables(stage: Stage): Promise<Tables> {
  const [tables] = await stage.sql<Record<keyof Tables, string>>(
    'ours',
    `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS wal,
      (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'jobs') AS dead,
      pg_total_relation_size('jobs') + pg_total_relation_size('attempts') AS bytes,
      pg_relation_size('jobs_claimable') AS claimable, pg_relation_size('jobs_leased') AS leased`,
  )
  const named = Object.entries(tables ?? {}).map(([name, value]) => [name, Number(value)])
  return Object.fromEntries(named) as Tables
}

/** The mean of the last quarter, by that of the second. */
function driftOf(series: Series[], name: string): number {
  const values = series.find((each) => each.name === name)?.values ?? []
  const quarter = values.length / 4
  return mean(values.slice(3 * quarter)) / mean(values.slice(quarter, 2 * quarter))
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
