import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { patient } from '../support/health.ts'
import { pause } from '../support/pause.ts'

/** A session of the pools that ends at any statement of a cancel or of a critical section: 503 or the answer, and asked
 *  again the same. */

const db = useDatabase()

/** Whether it was served. */
function expectAnswer({ status, body }: Answer): boolean {
  expect([200, 503]).toContain(status)
  if (status === 503) expect(body.code).toBe('database_unavailable')
  return status === 200
}

async function start() {
  const cut = await startCut(db, patient)
  const { api, queue, executor, epoch } = cut
  const submit = async () => (await api.submit({ queue })).id
  /** A job that the executor holds. */
  const hold = async () => {
    const id = await submit()
    for (;;) {
      const [given] = await api.poll(executor, epoch, { wait_ms: 300 })
      if (given) return { job_id: id, fence: given.fence }
      await pause()
    }
  }
  const cancel = (id: string) => api.post(`/v1/jobs/${id}/cancel`, { reason: 'stop' })
  const critical = ({ job_id, fence }: { job_id: string; fence: number }, enter: boolean) =>
    api.post(`/v1/jobs/${job_id}/critical`, { executor_id: executor, epoch, fence, enter })
  const beat = (held: object) => api.heartbeat(executor, epoch, [held])
  /** What is written of it. */
  const standing = async (id: string) => {
    const [row] = await db.sql(
      `SELECT state, cancel_requested_at IS NOT NULL AS asked, critical_fence IS NOT NULL AS critical
        FROM jobs WHERE id = $1`,
      [id],
    )
    return row
  }
  const end = (id: string) => db.sql('DELETE FROM jobs WHERE id = $1', [id])
  return { cut, api, queue, submit, hold, cancel, critical, beat, standing, end }
}

test('invariant 6: cancel of what nobody holds: it ends once, and is answered the same', async () => {
  const { cut, api, queue, cancel, standing } = await start()
  const submit = (key: string) => api.submit({ queue, idempotency_key: key })
  await cutEverywhere('cancel', cut, {
    prepare: async () => {
      const key = randomUUID()
      return { key, id: (await submit(key)).id, isServed: false }
    },
    act: async (given) => {
      given.isServed = expectAnswer(await cancel(given.id))
    },
    settle: async ({ key, id, isServed }) => {
      const before = await standing(id)
      if (isServed || before?.asked)
        expect(before).toMatchObject({ state: 'cancelled', asked: true })
      else expect(before).toMatchObject({ state: 'available' })
      const { body } = await untilServed(() => cancel(id))
      expect(body.job).toMatchObject({ state: 'cancelled', cancel_reason: 'stop' })
      expect((await cancel(id)).body).toEqual(body)
      // Its key is free again.
      const anew = (await submit(key)).id
      expect(anew).not.toBe(id)
      await db.sql('DELETE FROM jobs WHERE id = ANY ($1)', [[id, anew]])
    },
  })
})

test('invariant 6: cancel of what is held: its executor is told, and answers', async () => {
  const { cut, api, hold, cancel, beat, standing, end } = await start()
  await cutEverywhere('cancel of what is held', cut, {
    prepare: async () => ({ held: await hold(), isServed: false }),
    act: async (given) => {
      given.isServed = expectAnswer(await cancel(given.held.job_id))
    },
    settle: async ({ held, isServed }) => {
      if (isServed) expect(await standing(held.job_id)).toMatchObject({ asked: true })
      const { body } = await untilServed(() => cancel(held.job_id))
      expect(body.job).toMatchObject({ state: 'leased', cancel_reason: 'stop' })
      const told = await beat(held)
      expect(told).toMatchObject({ held: [held], cancel: [{ ...held, reason: 'stop' }] })
      const report = { ...held, outcome: 'cancelled' }
      expect(await api.report(cut.executor, cut.epoch, report)).toMatchObject([
        { status: 'accepted', job_state: 'cancelled' },
      ])
      await end(held.job_id)
    },
  })
})

test('bulk cancel: the jobs and the audit are one write', async () => {
  const { cut, api, queue, submit } = await start()
  const cancel = (reason: string) =>
    api.post('/v1/jobs/bulk', { action: 'cancel', filter: { queue }, reason })
  const told = (ids: string[], reason: string) =>
    db.sql(
      `SELECT (SELECT count(*) FROM jobs WHERE state = 'cancelled' AND id = ANY ($1)) AS jobs,
        (SELECT coalesce(sum((facts->>'changed')::integer), 0)::integer FROM audit WHERE reason = $2) AS changed`,
      [ids, reason],
    )
  await cutEverywhere('bulk cancel', cut, {
    prepare: async () => ({
      ids: [await submit(), await submit(), await submit()],
      reason: randomUUID(),
    }),
    act: async ({ reason }) => expectAnswer(await cancel(reason)),
    settle: async ({ ids, reason }) => {
      const [before] = await told(ids, reason)
      expect([
        { jobs: 0, changed: 0 },
        { jobs: 3, changed: 3 },
      ]).toContainEqual(before)
      const { body } = await untilServed(() => cancel(reason))
      expect(body).toMatchObject({ changed: 3 - before?.jobs, remaining: 0 })
      expect(await told(ids, reason)).toEqual([{ jobs: 3, changed: 3 }])
    },
  })
})

test('invariant 6: critical, entered: a cancel waits from its commit on', async () => {
  const { cut, hold, cancel, critical, beat, standing, end } = await start()
  // The ceiling of a section goes by it: so far ahead a replica that stalls does not move it.
  await db.sql("UPDATE terms SET deadline_floor_at = clock_timestamp() + interval '1 hour'")
  const begunAt = (id: string) => db.sql('SELECT critical_entered_at FROM jobs WHERE id = $1', [id])
  await cutEverywhere('critical, entered', cut, {
    prepare: async () => ({ held: await hold(), isServed: false }),
    act: async (given) => {
      given.isServed = expectAnswer(await critical(given.held, true))
    },
    settle: async ({ held, isServed }) => {
      if (isServed) expect(await standing(held.job_id)).toMatchObject({ critical: true })
      const { body } = await untilServed(() => critical(held, true))
      expect(body).toMatchObject({ critical_until: expect.any(String), cancel: null })
      const since = await begunAt(held.job_id)
      expect((await critical(held, true)).body).toEqual(body)
      expect(await begunAt(held.job_id)).toEqual(since)
      await cancel(held.job_id)
      expect((await beat(held)).cancel).toEqual([])
      await end(held.job_id)
    },
  })
})

test('invariant 6: critical, left: the cancel that has waited is told', async () => {
  const { cut, hold, cancel, critical, beat, standing, end } = await start()
  await cutEverywhere('critical, left', cut, {
    prepare: async () => {
      const held = await hold()
      await critical(held, true)
      await cancel(held.job_id)
      return { held, isServed: false }
    },
    act: async (given) => {
      given.isServed = expectAnswer(await critical(given.held, false))
    },
    settle: async ({ held, isServed }) => {
      if (isServed) expect(await standing(held.job_id)).toMatchObject({ critical: false })
      const { body } = await untilServed(() => critical(held, false))
      expect(body).toEqual({ critical_until: null, cancel: { reason: 'stop' } })
      expect((await beat(held)).cancel).toMatchObject([held])
      await end(held.job_id)
    },
  })
})
