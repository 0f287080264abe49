import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { startWorker } from '../support/health.ts'
import { adminToken } from '../support/replica.ts'

const db = useDatabase()

test('each reason is a line, with what to do; as JSON it is what the API says', async () => {
  const { api, queue } = await startWorker(db)
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const run = (...args: string[]) => cli(['job', 'explain', ...args], { env })
  const job = await api.submit({ queue, requires: { gpu: 'a100' } })
  expect((await run(job.id)).stdout).toBe(
    [
      `${job.id} is available`,
      `  no_executor_with_labels: no executor with label gpu=a100 is online; 1 without serve queue ${queue}; to do: understudy agent --queue ${queue} --label gpu=a100 …`,
      '',
    ].join('\n'),
  )
  const told = await run(job.id, '--json')
  expect(told.json()).toEqual((await api.get(`/v1/jobs/${job.id}/explain`)).body)

  await db.sql(
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch, holds)
      VALUES ($1, 'it''s done', 'in_doubt', 'hold', 'b', 1, 'e', 1, true)`,
    [job.id],
  )
  await db.sql("UPDATE jobs SET state = 'waiting' WHERE id = $1", [job.id])
  expect((await run(job.id)).stdout).toContain(
    `to do: understudy effect resolve ${job.id} 'it'\\''s done' --outcome`,
  )
  const absent = await run('01890a5d-ac96-774b-bcce-b302099a8057', '--json')
  expect(absent.code).toBe(3)
})
