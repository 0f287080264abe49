import type { Explanation, Reason } from '../../src/contract/explain.ts'
import type { Api } from './api.ts'
import type { TestDatabase } from './database.ts'

/** Why a job is where it is. */
export async function explainJob(api: Api, jobId: string): Promise<Explanation> {
  return (await api.must(200, api.get(`/v1/jobs/${jobId}/explain`))).body
}

export async function reasonsOf(api: Api, jobId: string): Promise<Reason[]> {
  return (await explainJob(api, jobId)).reasons
}

export async function codesOf(api: Api, jobId: string): Promise<string[]> {
  return (await reasonsOf(api, jobId)).map(({ code }) => code)
}

/** As if this executor had been heard last so long ago, and had had the time to be heard since. */
export async function silence(db: TestDatabase, executor: string, ms: number): Promise<void> {
  await db.sql("UPDATE terms SET deadline_floor_at = clock_timestamp() - interval '1 hour'")
  await db.sql(
    `UPDATE executors SET heartbeat_at = clock_timestamp() - $2 * interval '1 millisecond'
      WHERE executor_id = $1`,
    [executor, ms],
  )
}
