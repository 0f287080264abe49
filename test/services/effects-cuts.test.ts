import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { Holder } from '../support/effects.ts'

/** A session of the pools that ends at any statement of the ledger: 503 or the answer, and asked again the same. */

const db = useDatabase()

function expectAnswer({ status, body }: Answer) {
  expect([200, 503]).toContain(status)
  if (status === 503) expect(body.code).toBe('database_unavailable')
}

async function startHolding() {
  const cut = await startCut(db)
  const { api, queue } = cut
  const hold = async () => {
    const executor = randomUUID()
    const epoch = await api.register(executor, { queues: [queue] })
    for (;;) {
      const [job] = await api.poll(executor, epoch, { wait_ms: 300 })
      if (job) return new Holder(api, executor, epoch, job)
    }
  }
  const effects = (jobId: string) =>
    db.sql('SELECT state, holds, fence, doubt_fence FROM effects WHERE job_id = $1', [jobId])
  // Asked of Postgres itself: the replica's next session may be the one that was cut.
  const standing = (jobId: string) => db.sql('SELECT state FROM jobs WHERE id = $1', [jobId])
  const end = (jobId: string) => db.sql('DELETE FROM jobs WHERE id = $1', [jobId])
  return { cut, hold, effects, standing, end, submit: () => api.submit({ queue }) }
}

test('invariant 5: begin: written once, and answered the same', async () => {
  const { cut, hold, effects, end, submit } = await startHolding()
  await cutEverywhere('effect begin', cut, {
    prepare: async () => {
      await submit()
      return { holder: await hold(), begin_id: randomUUID() }
    },
    act: async ({ holder, begin_id }) => expectAnswer(await holder.begin('k', { begin_id })),
    settle: async ({ holder, begin_id }) => {
      const { body } = await untilServed(() => holder.begin('k', { begin_id }))
      expect(body).toMatchObject({ outcome: 'proceed' })
      expect((await holder.begin('k')).body.code).toBe('effect_in_progress')
      const { job_id, fence } = holder.job
      expect(await effects(job_id)).toMatchObject([{ state: 'begun', fence }])
      await end(job_id)
    },
  })
})

test('invariant 5: begin of what must be held: the doubt and the end of the lease are one write', async () => {
  const { cut, hold, effects, standing, end, submit } = await startHolding()
  await cutEverywhere('effect begin, in doubt', cut, {
    prepare: async () => {
      await submit()
      const first = await hold()
      await first.begin('k', { on_doubt: 'hold' })
      await cut.api.register(first.executor, { queues: ['elsewhere'] })
      return { holder: await hold(), begin_id: randomUUID() }
    },
    act: async ({ holder, begin_id }) => expectAnswer(await holder.begin('k', { begin_id })),
    settle: async ({ holder, begin_id }) => {
      const { job_id, fence } = holder.job
      const [before] = await effects(job_id)
      const [{ state } = {}] = await standing(job_id)
      expect([
        { state: 'leased', holds: false },
        { state: 'waiting', holds: true },
      ]).toContainEqual({ state, holds: before?.holds })
      const { body } = await untilServed(() => holder.begin('k', { begin_id }))
      expect(body).toMatchObject({ outcome: 'in_doubt' })
      expect(await effects(job_id)).toMatchObject([
        { state: 'in_doubt', holds: true, doubt_fence: fence },
      ])
      expect(await cut.api.job(job_id)).toMatchObject({ state: 'waiting', fence: fence + 1 })
      await end(job_id)
    },
  })
})

test('invariant 5: commit: recorded once, and answered the same', async () => {
  const { cut, hold, effects, end, submit } = await startHolding()
  const commit = ({ holder, begin_id }: { holder: Holder; begin_id: string }) =>
    holder.call('k', 'commit', { begin_id, result: 1 })
  await cutEverywhere('effect commit', cut, {
    prepare: async () => {
      await submit()
      const given = { holder: await hold(), begin_id: randomUUID() }
      await given.holder.begin('k', { begin_id: given.begin_id })
      return given
    },
    act: async (given) => expectAnswer(await commit(given)),
    settle: async (given) => {
      const { body } = await untilServed(() => commit(given))
      expect(body.effect).toMatchObject({ state: 'committed', result: 1 })
      expect((await commit(given)).body).toEqual(body)
      const { job_id } = given.holder.job
      expect(await effects(job_id)).toMatchObject([{ state: 'committed' }])
      await end(job_id)
    },
  })
})

test('invariant 5: abort: recorded once, answered the same, and begun anew from then on', async () => {
  const { cut, hold, effects, end, submit } = await startHolding()
  const abort = ({ holder, begin_id }: { holder: Holder; begin_id: string }) =>
    holder.call('k', 'abort', { begin_id })
  await cutEverywhere('effect abort', cut, {
    prepare: async () => {
      await submit()
      const given = { holder: await hold(), begin_id: randomUUID() }
      await given.holder.begin('k', { begin_id: given.begin_id })
      return given
    },
    act: async (given) => expectAnswer(await abort(given)),
    settle: async (given) => {
      const { holder, begin_id } = given
      const { body } = await untilServed(() => abort(given))
      expect(body.effect).toMatchObject({ state: 'aborted' })
      expect((await abort(given)).body).toEqual(body)
      expect((await holder.call('k', 'commit', { begin_id })).body.code).toBe('effect_settled')
      expect(await effects(holder.job.job_id)).toMatchObject([{ state: 'aborted' }])
      expect((await holder.begin('k')).body).toMatchObject({ outcome: 'proceed' })
      await end(holder.job.job_id)
    },
  })
})

test('resolve: the effect, its audit and the job are one write', async () => {
  const { cut, hold, effects, standing, end, submit } = await startHolding()
  const resolve = (jobId: string) =>
    cut.api.post(`/v1/jobs/${jobId}/effects/k/resolve`, { outcome: 'aborted', note: jobId })
  const audits = (jobId: string) => db.sql('SELECT FROM audit WHERE reason = $1', [jobId])
  await cutEverywhere('effect resolve', cut, {
    prepare: async () => {
      await submit()
      const first = await hold()
      await first.begin('k')
      await cut.api.register(first.executor, { queues: ['elsewhere'] })
      const second = await hold()
      await second.begin('k')
      return second.job.job_id
    },
    act: async (jobId) => expectAnswer(await resolve(jobId)),
    settle: async (jobId) => {
      const [effect] = await effects(jobId)
      const [{ state } = {}] = await standing(jobId)
      expect([
        ['in_doubt', 'waiting', 0],
        ['aborted', 'available', 1],
      ]).toContainEqual([effect?.state, state, (await audits(jobId)).length])
      await untilServed(() => resolve(jobId))
      expect(await effects(jobId)).toMatchObject([{ state: 'aborted', holds: false }])
      expect(await audits(jobId)).toHaveLength(1)
      expect((await cut.api.job(jobId)).state).toBe('available')
      await end(jobId)
    },
  })
})
