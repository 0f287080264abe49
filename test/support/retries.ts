import type { Answer, Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { startEffects } from './effects.ts'
import { startReplica } from './replica.ts'

/** What brings a job to its end, and what retries it. */
export async function startRetries(db: TestDatabase, env: Record<string, string> = {}) {
  const work = await startEffects(db, env)
  const { api, queue, hold } = work
  const retry = (id: string, body?: object, by: Api = api): Promise<Answer> =>
    by.post(`/v1/jobs/${id}/retry`, body)
  /** A job of this queue that has ended so. */
  const ended = async (outcome: string, more: Record<string, unknown> = {}) => {
    const job = await api.submit({ queue, max_attempts: 1, ...more })
    const holder = await hold()
    await holder.report(outcome)
    return { ...(await api.job(job.id)), holder }
  }
  /** A second replica, which leads nothing. */
  const startOther = async () => {
    const other = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
    await other.api.untilReady()
    return other.api
  }
  const bulk = (body: object, by: Api = api) =>
    by.post('/v1/jobs/bulk', { action: 'retry', ...body })
  return { ...work, retry, ended, startOther, bulk }
}
