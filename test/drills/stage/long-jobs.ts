import type { JobSubmitInput } from '../../../src/contract/jobs.ts'
import { Client } from '../../../src/sdk/index.ts'
import { type Release, releaseKind } from './release.ts'
import type { Stage } from './stage.ts'
import { until } from './until.ts'

export function sleepOf(ms: number): JobSubmitInput {
  return { kind: 'sleep', queue: 'direct', payload: { ms } }
}

/** Half of the time its effect is not yet done, and half not yet recorded. */
export function deployOf(ms: number): JobSubmitInput {
  const payload: Release = { ms: ms / 2, sectionMs: 0, onDoubt: 'reconcile', breaks: false }
  const stages = [{ name: 'deploy' }]
  return { kind: releaseKind, queue: 'direct', payload, stages, backoff: { base_ms: 100 } }
}

/** Submits jobs that take long, and waits until executors hold them all. Returns their ids. */
export async function beginLongJobs(stage: Stage, jobs: JobSubmitInput[]): Promise<string[]> {
  const client = new Client({ urls: stage.replicas.map(({ url }) => url), token: stage.token })
  const { results } = await client.submitBatch(jobs)
  await client.close()
  const ids = results.map(({ id }) => id)
  await until('long jobs were not begun', async () => {
    const begun = await stage.postgres.count(
      `SELECT FROM jobs WHERE id = ANY($1) AND state = 'leased' AND NOT offered`,
      [ids],
    )
    return begun === jobs.length || undefined
  })
  return ids
}
