import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { Holder } from '../support/effects.ts'
import { manual, startPipelines } from '../support/stages.ts'

/** A job waits for an effect, a decision, or the owner of its next move: what ends one wait ends no other. */

const db = useDatabase()

/** A job that waits, in its second stage, for an effect that an attempt at the first had begun. */
async function startHeld(stages: unknown[]) {
  const { api, on } = await startPipelines(db)
  const job = await on.submit(stages)
  const holder = async () => new Holder(api, on.executor, on.epoch, await on.hold())
  const begin = async (key: string) => {
    const held = await holder()
    await held.begin(key)
    return held
  }
  const resolve = (key: string) => {
    const body = { outcome: 'aborted', note: 'n' }
    return api.must(200, api.post(`/v1/jobs/${job.id}/effects/${key}/resolve`, body))
  }
  return { api, on, job, holder, begin, resolve }
}

test('an effect that is resolved gives back no job that waits for a decision, or for an owner', async () => {
  const { api, on, job, begin, resolve } = await startHeld([{ name: 'a' }, manual('b')])
  const held = await begin('x')
  await held.begin('y')
  await held.report('succeeded')
  await db.sql('UPDATE effects SET holds = true WHERE job_id = $1', [job.id])
  await resolve('x')
  const decision = { state: 'waiting', waiting_for: 'decision', stage: 'b' }
  expect(await api.job(job.id)).toMatchObject(decision)
  const { token } = (await on.begin(job.id, 'b')).body
  await resolve('y')
  expect(await api.job(job.id)).toMatchObject({ ...decision, waiting_for: 'transition' })
  await api.must(200, on.commit(job.id, token, 'succeeded'))
})

test('a job that an effect holds is not moved, nor owned, until that is resolved; then it is in its stage', async () => {
  const { api, on, job, holder, begin, resolve } = await startHeld([{ name: 'a' }, { name: 'b' }])
  await (await begin('x')).report('failed')
  await (await holder()).begin('x')
  expect(await api.job(job.id)).toMatchObject({ state: 'waiting', waiting_for: 'effect' })
  for (const answer of [on.transition(job.id, 'a', 'b'), on.begin(job.id, 'a')]) {
    expect(await answer).toMatchObject({ status: 409, body: { code: 'effect_in_doubt' } })
  }
  await resolve('x')
  expect(await api.job(job.id)).toMatchObject({ state: 'available', waiting_for: null, move: 0 })
  expect((await on.transition(job.id, 'a', 'b')).status).toBe(200)
})

test('of several effects that hold a job, the last that is resolved gives it back', async () => {
  const { api, job, holder, begin, resolve } = await startHeld([{ name: 'a' }])
  const first = await begin('x')
  await first.begin('y')
  await first.report('failed')
  await (await holder()).begin('x')
  await db.sql("UPDATE effects SET holds = true WHERE job_id = $1 AND key = 'y'", [job.id])
  await resolve('x')
  expect(await api.job(job.id)).toMatchObject({ state: 'waiting', waiting_for: 'effect' })
  await resolve('y')
  expect((await holder()).job).toMatchObject({ job_id: job.id, stage: 'a' })
})

test('what an older build held without saying why waits for an effect', async () => {
  const { api, job, holder, begin, resolve } = await startHeld([{ name: 'a' }])
  await (await begin('x')).report('failed')
  await (await holder()).begin('x')
  await db.sql('UPDATE jobs SET waiting_for = NULL WHERE id = $1', [job.id])
  expect(await api.job(job.id)).toMatchObject({ state: 'waiting', waiting_for: 'effect' })
  await resolve('x')
  expect((await api.job(job.id)).state).toBe('available')
})

test('an older build lets no job go that waits for anything but an effect', async () => {
  const { on, job } = await startHeld([manual('a'), manual('b')])
  const asBefore = () => db.sql("UPDATE jobs SET state = 'available' WHERE id = $1", [job.id])
  await expect(asBefore()).rejects.toThrow('decided_before_it_goes_on')
  await on.begin(job.id, 'a')
  await expect(asBefore()).rejects.toThrow('decided_before_it_goes_on')
})

test('invariant 5: sent back to an earlier stage, a job repeats no effect that was committed', async () => {
  const { api, on, job, holder } = await startHeld([{ name: 'a' }, manual('b')])
  const first = await holder()
  const begin_id = 'once'
  await first.begin('mail', { begin_id })
  await first.call('mail', 'commit', { begin_id, result: 'sent' })
  await first.report('succeeded')
  await api.must(200, on.transition(job.id, 'b', 'a'))
  const again = await (await holder()).begin('mail')
  expect(again.body).toMatchObject({ outcome: 'committed', result: 'sent' })
})
