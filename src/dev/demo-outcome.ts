import pg from 'pg'
import { hashOf } from './demo-files.ts'
import type { StoryLine } from './demo-story.ts'

export interface Outcome {
  isGood: boolean
  jobs: number
  wrong: number
  lost: number
  accepted_twice: number
  leases_reclaimed: number
  promotions: number
  gap_ms: { median: number | null; max: number | null }
  jobs_per_second: number
  story: StoryLine[]
}

/** The demo's own count, by files hashed here and rows read from Postgres, past all of our code. */
export async function verify(databaseUrl: string, submitted: Map<string, string>) {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows: jobs } = await client.query<{ id: string; sha256: string | null; times: string }>(
      `SELECT j.id, max(a.result->>'sha256') AS sha256, count(a.*) AS times
        FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.outcome = 'succeeded'
        WHERE j.state = 'succeeded' GROUP BY j.id`,
    )
    const { rows: counts } = await client.query<{ lost_leases: string; promotions: string }>(
      `SELECT (SELECT count(*) FROM attempts WHERE outcome = 'lost') AS lost_leases,
        (SELECT count(DISTINCT replica_id) - 1 FROM terms) AS promotions`,
    )
    const done = new Map(jobs.map((job) => [job.id, job]))
    let wrong = 0
    for (const [id, file] of submitted) {
      const job = done.get(id)
      if (job && job.sha256 !== (await hashOf(file))) wrong += 1
    }
    return {
      wrong,
      lost: [...submitted.keys()].filter((id) => !done.has(id)).length,
      acceptedTwice: jobs.filter(({ times }) => Number(times) > 1).map(({ id }) => id),
      leasesReclaimed: Number(counts[0]?.lost_leases),
      promotions: Number(counts[0]?.promotions),
    }
  } finally {
    await client.end()
  }
}

export function outcomeLines(outcome: Outcome): string[] {
  const { gap_ms, story } = outcome
  const facts: [string, string | number][] = [
    ['jobs', outcome.jobs],
    ['wrong', outcome.wrong],
    ['lost', outcome.lost],
    ['accepted twice', outcome.accepted_twice],
    ['leases reclaimed', outcome.leases_reclaimed],
    ['gap seen by executors', `median ${gap_ms.median ?? '-'} ms, longest ${gap_ms.max ?? '-'} ms`],
    ['throughput', `${outcome.jobs_per_second} jobs/s`],
  ]
  return [
    '',
    'the failover, in ms',
    ...story.map(({ ms, what }) => `  ${String(ms).padStart(6)}  ${what}`),
    '',
    ...facts.map(([name, value]) => `  ${name.padEnd(22)} ${value}`),
    '',
    outcome.isGood
      ? 'good: every job was done, once, through a failover'
      : outcome.promotions < 1
        ? 'NOT good: no promotion happened'
        : 'NOT good: see the counts above',
  ]
}
