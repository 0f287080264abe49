import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'

const db = useDatabase()

test('a late report is kept if its sender once had that lease, once for each outcome', async () => {
  const { api } = await startActive(db)
  const job = await api.submit()
  const first = await api.register('holder')
  const [lost] = await api.poll('holder', first)
  const epoch = await api.register('holder')
  const [given] = await api.poll('holder', epoch)
  await api.report('holder', epoch, { job_id: job.id, fence: given?.fence, outcome: 'released' })
  const late = (fence: number | undefined) =>
    ['succeeded', 'failed', 'succeeded'].map((outcome) => ({ job_id: job.id, fence, outcome }))
  await api.report('holder', first, ...late(lost?.fence))
  await api.report('holder', epoch, ...late(given?.fence))
  const reason = { first: 'stale_epoch', later: 'stale_fence' }
  const { body } = await api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.late_reports).toMatchObject([
    { epoch: first, fence: lost?.fence, outcome: 'succeeded', reason: reason.first },
    { epoch: first, fence: lost?.fence, outcome: 'failed', reason: reason.first },
    { epoch, fence: given?.fence, outcome: 'succeeded', reason: reason.later },
    { epoch, fence: given?.fence, outcome: 'failed', reason: reason.later },
  ])
})

test('what never held the job leaves nothing behind, whatever it reports', async () => {
  const { api } = await startActive(db)
  const job = await api.submit({ queue: 'kept' })
  const epoch = await api.register('owner', { queues: ['kept'] })
  const [assignment] = await api.poll('owner', epoch)
  await api.register('stranger', { queues: ['other'] })
  const reports = [0, 1, 2, 3].map((fence) => ({ job_id: job.id, fence, outcome: 'failed' }))
  const rejected = reports.map(() => ({ status: 'rejected', job_state: 'leased' }))
  for (const claimed of [1, 2, 7]) {
    expect(await api.report('stranger', claimed, ...reports)).toMatchObject(rejected)
    expect(await api.report('nobody', claimed, ...reports)).toMatchObject(rejected)
  }
  const success = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded' }
  await api.report('owner', epoch, success)
  await api.report('stranger', 1, ...reports)
  await api.report('owner', epoch + 1, ...reports)
  await api.report('owner', epoch, { ...success, fence: 9 })
  expect(await db.sql('SELECT outcome FROM late_reports WHERE job_id = $1', [job.id])).toEqual([])
})
