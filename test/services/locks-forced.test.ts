import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { startActive } from '../support/replica.ts'

const db = useDatabase()

test('what nobody has is not taken away: a lock that is over is answered as it is, and nothing is audited', async () => {
  const { api } = await startActive(db)
  const [outOfTime, ofJob] = [new Claimant(api, lockName()), new Claimant(api, lockName())]
  const job = await api.submit()
  await outOfTime.take()
  await ofJob.take({ job_id: job.id })
  await age(db, outOfTime.name, '61 s')
  await api.must(200, api.post(`/v1/jobs/${job.id}/cancel`, {}))
  for (const { path, name } of [outOfTime, ofJob]) {
    const forced = await api.must(200, api.post(`${path}/force-release`, { note: 'n' }))
    expect(forced.body.lock).toMatchObject({ state: 'free', fence: 1, released_at: null })
    expect(await db.sql('SELECT FROM audit WHERE subject = $1', [name])).toEqual([])
  }
})

test('one that is stale is taken from whoever might still renew it', async () => {
  const { api } = await startActive(db)
  const holder = new Claimant(api, lockName())
  const fence = await holder.take()
  await age(db, holder.name, '20 s')
  await api.must(200, api.post(`${holder.path}/force-release`, { note: 'n' }))
  expect((await holder.renew(fence)).body.code).toBe('stale_fence')
  expect(await db.sql('SELECT FROM audit WHERE subject = $1', [holder.name])).toHaveLength(1)
})
