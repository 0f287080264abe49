import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'

/** A session of the pools that ends at any statement of any write: the caller is answered 503 or success,
 *  nothing is half written, no session leaks, and asking again brings the right end, once. */

const db = useDatabase()

function expectAnswer(answer: Answer, ...statuses: number[]) {
  expect([503, ...statuses]).toContain(answer.status)
  if (answer.status === 503) expect(answer.body.code).toBe('database_unavailable')
}

test('invariant 4: submit: the same key makes one job', async () => {
  const cut = await startCut(db)
  const submit = (key: string) =>
    cut.api.post('/v1/jobs', { kind: 'k', queue: cut.queue, idempotency_key: key })
  await cutEverywhere('submit', cut, {
    prepare: async () => randomUUID(),
    act: async (key) => expectAnswer(await submit(key), 201),
    settle: async (key) => {
      const { body } = await untilServed(() => submit(key))
      expect(await db.sql('SELECT id FROM jobs WHERE idempotency_key = $1', [key])).toEqual([
        { id: body.job.id },
      ])
    },
  })
})

test('invariant 4: submit of a new class: the class and the job are made once', async () => {
  const cut = await startCut(db)
  const submit = (kind: string) =>
    cut.api.post('/v1/jobs', { kind, queue: cut.queue, idempotency_key: kind })
  await cutEverywhere('submit of a new class', cut, {
    prepare: async () => randomUUID(),
    act: async (kind) => expectAnswer(await submit(kind), 201),
    settle: async (kind) => {
      await untilServed(() => submit(kind))
      expect(await db.sql('SELECT FROM classes WHERE kind = $1', [kind])).toHaveLength(1)
      expect(await db.sql('SELECT FROM jobs WHERE kind = $1', [kind])).toHaveLength(1)
    },
  })
})

test('invariant 4: batch: all of its jobs or none, and each once', async () => {
  const cut = await startCut(db)
  const submit = (keys: string[]) =>
    cut.api.post('/v1/jobs/batch', {
      jobs: keys.map((key) => ({ kind: 'k', queue: cut.queue, idempotency_key: key })),
    })
  const count = (keys: string[]) =>
    db.sql('SELECT FROM jobs WHERE idempotency_key = ANY ($1)', [keys])
  await cutEverywhere('batch', cut, {
    prepare: async () => [randomUUID(), randomUUID(), randomUUID()],
    act: async (keys) => expectAnswer(await submit(keys), 200),
    settle: async (keys) => {
      expect([0, 3]).toContain((await count(keys)).length)
      expect((await untilServed(() => submit(keys))).status).toBe(200)
      expect(await count(keys)).toHaveLength(3)
    },
  })
})

test('invariant 2: register: a raised epoch and the end of what was held are one write', async () => {
  const cut = await startCut(db)
  const { api, queue } = cut
  const register = (executor_id: string) =>
    api.post('/v1/executors/register', { executor_id, queues: [queue] })
  await cutEverywhere('register', cut, {
    prepare: async () => {
      const executor = randomUUID()
      const epoch = await api.register(executor, { queues: [queue] })
      const job = await api.submit({ queue })
      while ((await api.poll(executor, epoch, { wait_ms: 300 })).length === 0) await pause()
      return { executor, job }
    },
    act: async ({ executor }) => expectAnswer(await register(executor), 201),
    settle: async ({ executor, job }) => {
      const [row] = await db.sql(
        `SELECT x.epoch, j.lost_leases, j.state FROM executors x, jobs j
          WHERE x.executor_id = $1 AND j.id = $2`,
        [executor, job.id],
      )
      expect([
        { epoch: 1, lost_leases: 0, state: 'leased' },
        { epoch: 2, lost_leases: 1, state: 'available' },
      ]).toContainEqual(row)
      const { body } = await untilServed(() => register(executor))
      expect(body.epoch).toBe((row?.epoch ?? 0) + 1)
      expect((await api.heartbeat(executor, body.epoch)).held).toEqual([])
      expect(await api.job(job.id)).toMatchObject({ state: 'available', lost_leases: 1, fence: 2 })
      await db.sql('DELETE FROM jobs WHERE id = $1', [job.id])
    },
  })
})

test('invariant 2: poll: the same poll_id gets the job, claimed once', async () => {
  const cut = await startCut(db)
  const { api, queue } = cut
  await cutEverywhere('poll', cut, {
    prepare: async () => {
      const executor = randomUUID()
      const epoch = await api.register(executor, { queues: [queue] })
      return { executor, job: await api.submit({ queue }), body: { epoch, poll_id: randomUUID() } }
    },
    act: async ({ executor, body }) =>
      expectAnswer(
        await api.post(`/v1/executors/${executor}/poll`, { ...body, wait_ms: 100 }),
        200,
      ),
    settle: async ({ executor, job, body }) => {
      const { epoch, ...more } = body
      const again = () => api.poll(executor, epoch, { ...more, wait_ms: 300 })
      let given = await again()
      while (given.length === 0) given = await again()
      expect(given).toMatchObject([{ job_id: job.id, fence: 1, attempt: 1 }])
      const done = { job_id: job.id, fence: 1, outcome: 'succeeded' }
      expect(await api.report(executor, epoch, done)).toMatchObject([{ status: 'accepted' }])
    },
  })
})

/** An executor that was given `count` jobs. */
async function startHolding(cut: Awaited<ReturnType<typeof startCut>>, count: number) {
  const { api, queue, executor, epoch } = cut
  for (let n = 0; n < count; n += 1) await api.submit({ queue })
  const held: { job_id: string; fence: number }[] = []
  while (held.length < count) {
    const given = await api.poll(executor, epoch, { max: count - held.length, wait_ms: 300 })
    held.push(...given.map(({ job_id, fence }) => ({ job_id, fence })))
  }
  return held
}

test('a heartbeat with progress: leases and progress are one write', async () => {
  const cut = await startCut(db)
  const { api, executor, epoch } = cut
  const path = `/v1/executors/${executor}/heartbeat`
  const beat = (held: { job_id: string }[]) =>
    api.post(path, { epoch, assignments: held.map((each) => ({ ...each, progress: each.job_id })) })
  await cutEverywhere('heartbeat', cut, {
    prepare: () => startHolding(cut, 2),
    act: async (held) => expectAnswer(await beat(held), 200),
    settle: async (held) => {
      const ids = held.map(({ job_id }) => job_id)
      const rows = await db.sql(
        `SELECT DISTINCT NOT offered AS shown, progress IS NOT NULL AS told
          FROM jobs LEFT JOIN progress ON job_id = id WHERE id = ANY ($1)`,
        [ids],
      )
      expect([[{ shown: true, told: true }], [{ shown: false, told: false }]]).toContainEqual(rows)
      const { body } = await untilServed(() => beat(held))
      expect(body).toMatchObject({ held, revoked: [] })
      const told = await db.sql('SELECT progress FROM progress WHERE job_id = ANY ($1)', [ids])
      expect(told.map(({ progress }) => progress).sort()).toEqual([...ids].sort())
    },
  })
})

test('invariant 3: report: the end of each job and its attempt are one write, made once', async () => {
  const cut = await startCut(db)
  const { api, executor, epoch } = cut
  const report = (held: object[]) =>
    api.post(`/v1/executors/${executor}/report`, {
      epoch,
      reports: held.map((each) => ({ ...each, outcome: 'succeeded', result: 7 })),
    })
  const ended = (held: { job_id: string }[]) =>
    db.sql<{ jobs: number; attempts: number }>(
      `SELECT (SELECT count(*) FROM jobs WHERE state = 'succeeded' AND id = ANY ($1)) AS jobs,
        (SELECT count(*) FROM attempts WHERE job_id = ANY ($1)) AS attempts`,
      [held.map(({ job_id }) => job_id)],
    )
  await cutEverywhere('report', cut, {
    prepare: () => startHolding(cut, 2),
    act: async (held) => expectAnswer(await report(held), 200),
    settle: async (held) => {
      const [before] = await ended(held)
      expect([
        { jobs: 0, attempts: 0 },
        { jobs: 2, attempts: 2 },
      ]).toContainEqual(before)
      const { body } = await untilServed(() => report(held))
      const status = before?.jobs === 0 ? 'accepted' : 'duplicate'
      const result = { status, job_state: 'succeeded' }
      expect(body.results).toMatchObject([result, result])
      expect(await ended(held)).toEqual([{ jobs: 2, attempts: 2 }])
    },
  })
})

test('tokens: one that was not answered is at most one more, and a revocation sent again holds', async () => {
  const cut = await startCut(db)
  const { api } = cut
  const create = (name: string) => api.post('/v1/tokens', { name, role: 'read' })
  const count = (name: string) => db.sql('SELECT FROM tokens WHERE name = $1', [name])
  await cutEverywhere('token create', cut, {
    prepare: async () => randomUUID(),
    act: async (name) => expectAnswer(await create(name), 201),
    settle: async (name) => {
      const before = (await count(name)).length
      expect([0, 1]).toContain(before)
      const { body } = await untilServed(() => create(name))
      expect(await count(name)).toHaveLength(before + 1)
      expect((await api.as(body.token).get('/v1/jobs')).status).toBe(200)
    },
  })
  const revoke = ({ id }: { id: string }) => api.request('DELETE', `/v1/tokens/${id}`)
  await cutEverywhere('token revoke', cut, {
    prepare: async () => {
      const { body } = await create(randomUUID())
      // So that it is known by heart.
      await api.as(body.token).get('/v1/jobs')
      return body as { id: string; token: string }
    },
    act: async (token) => expectAnswer(await revoke(token), 200),
    settle: async (token) => {
      expect((await untilServed(() => revoke(token))).body.token.revoked_at).not.toBeNull()
      expect((await api.as(token.token).get('/v1/jobs')).status).toBe(401)
    },
  })
})
