import { Client } from '../../../src/sdk/index.ts'
import type { Stage } from './stage.ts'
import { until } from './until.ts'

/** Submits jobs that take so long, and waits until executors hold them all. Returns their ids. */
export async function beginLongJobs(stage: Stage, count: number, ms: number): Promise<string[]> {
  const client = new Client({ urls: stage.replicas.map(({ url }) => url), token: stage.token })
  const job = { kind: 'sleep', queue: 'direct', payload: { ms } }
  const { results } = await client.submitBatch(Array.from({ length: count }, () => job))
  await client.close()
  const ids = results.map(({ id }) => id)
  await until('long jobs were not begun', async () => {
    const begun = await stage.postgres.count(
      `SELECT FROM jobs WHERE id = ANY($1) AND state = 'leased' AND NOT offered`,
      [ids],
    )
    return begun === count || undefined
  })
  return ids
}
