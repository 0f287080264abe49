import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { Holder } from '../support/effects.ts'

/** A session of the pools that ends at any statement of a retry: all of it, or nothing, and asked again the same. */

const db = useDatabase()

function expectServed({ status, body }: Answer) {
  expect([200, 201, 503]).toContain(status)
  if (status === 503) expect(body.code).toBe('database_unavailable')
}

/** A job with a key, a committed effect and progress, that failed. */
async function startFailing() {
  const cut = await startCut(db)
  const { api, queue } = cut
  const fail = async () => {
    const key = randomUUID()
    // One that fails again and again would soon be given nothing.
    const executor = randomUUID()
    const epoch = await api.register(executor, { queues: [queue] })
    const job = await api.submit({ queue, max_attempts: 1, idempotency_key: key })
    const [given] = await api.poll(executor, epoch, { wait_ms: 20_000 })
    if (!given) throw new Error('there was no job')
    const holder = new Holder(api, executor, epoch, given)
    const begin_id = randomUUID()
    await holder.begin('k', { begin_id })
    await holder.call('k', 'commit', { begin_id })
    const lease = { job_id: job.id, fence: given.fence }
    await api.heartbeat(executor, epoch, [{ ...lease, progress: 1 }])
    await holder.report('failed')
    return { id: job.id, key }
  }
  /** What there is of it: its new jobs, and what each has inherited. */
  const expectWhole = async (id: string, key: string) => {
    const made = await db.sql(
      `SELECT j.id, j.idempotency_key AS key, o.retried_as = j.id AS is_named,
          (SELECT count(*) FROM effects e WHERE e.job_id = j.id AND e.state = 'committed') AS effects,
          (SELECT count(*) FROM progress p WHERE p.job_id = j.id) AS progress
        FROM jobs j JOIN jobs o ON o.id = j.retry_of WHERE o.id = $1`,
      [id],
    )
    expect([[], [{ key, is_named: true, effects: 1, progress: 1 }]]).toContainEqual(
      made.map(({ id: _, ...rest }) => rest),
    )
    const [old] = await db.sql('SELECT retried_as FROM jobs WHERE id = $1', [id])
    expect(old?.retried_as ?? null).toBe(made[0]?.id ?? null)
    return made.length
  }
  const end = (id: string) => db.sql('DELETE FROM jobs WHERE id = $1 OR retry_of = $1', [id])
  const audits = (subject: string, reason: string) =>
    db.sql('SELECT FROM audit WHERE subject = $1 AND reason = $2', [subject, reason])
  return { cut, fail, expectWhole, end, audits }
}

test('retry: the new job, what it inherits, the pointer, the key and the audit are one write', async () => {
  const { cut, fail, expectWhole, end, audits } = await startFailing()
  const retry = (id: string) => cut.api.post(`/v1/jobs/${id}/retry`, { reason: id })
  await cutEverywhere('job retry', cut, {
    prepare: fail,
    act: async ({ id }) => expectServed(await retry(id)),
    settle: async ({ id, key }) => {
      const made = await expectWhole(id, key)
      expect(await audits(id, id)).toHaveLength(made)
      const first = await untilServed(() => retry(id))
      expect(await expectWhole(id, key)).toBe(1)
      expect((await retry(id)).body).toMatchObject({ replayed: true, job: first.body.job })
      expect(await audits(id, id)).toHaveLength(1)
      await end(id)
    },
  })
})

test('bulk: a call is done and told as a whole, and passes over what it did when it is sent again', async () => {
  const { cut, fail, expectWhole, end, audits } = await startFailing()
  const bulk = (reason: string) =>
    cut.api.post('/v1/jobs/bulk', { action: 'retry', filter: { queue: cut.queue }, reason })
  await cutEverywhere('bulk retry', cut, {
    prepare: fail,
    act: async ({ id }) => expectServed(await bulk(id)),
    settle: async ({ id, key }) => {
      const made = await expectWhole(id, key)
      expect(await audits('retry', id)).toHaveLength(made)
      await untilServed(() => bulk('again'))
      expect(await expectWhole(id, key)).toBe(1)
      await end(id)
    },
  })
})
