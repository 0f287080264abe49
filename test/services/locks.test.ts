import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Role } from '../../src/contract/tokens.ts'
import type { Answer, Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { startActive, startReplica, waitForLocks } from '../support/replica.ts'
import { openSession, pidOf, untilWaiting } from '../support/sessions.ts'

const db = useDatabase()

async function start() {
  const { api, app } = await startActive(db)
  const name = lockName()
  const claimant = (owner?: string, boot?: string) => new Claimant(api, name, owner, boot)
  const look = async () => (await api.must(200, api.get(`/v1/locks/${name}`))).body.lock
  const asRole = async (role: Role) => {
    const created = await api.must(201, api.post('/v1/tokens', { name: 't', role }))
    return api.as(created.body.token)
  }
  return { api, app, name, claimant, look, asRole }
}

const codeOf = ({ status, body }: Answer) => `${status} ${body.code ?? ''}`.trim()

test('of 50 that ask at once, on both replicas, one gets the lock; the others are told who has it', async () => {
  const { api, name } = await start()
  const { api: other } = await startReplica(db)
  await other.untilReady()
  const claimants = Array.from({ length: 50 }, (_, n) => new Claimant(n % 2 ? api : other, name))
  for (let fence = 1; fence <= 3; fence += 1) {
    const answers = await Promise.all(claimants.map((each) => each.acquire()))
    const at = answers.findIndex(({ status }) => status === 200)
    const winner = claimants[at] as Claimant
    expect(answers[at]?.body).toMatchObject({ name, fence, renew_ms: 5_000, valid_ms: 15_000 })
    const refused = answers.filter(({ body }) => body.code === 'lock_held')
    expect(refused.map(({ status }) => status)).toEqual(Array(49).fill(409))
    for (const { body } of refused) {
      expect(body).toMatchObject({ retryable: true, detail: expect.stringContaining(winner.owner) })
      expect(JSON.stringify(body)).not.toContain(winner.boot_id)
    }
    expect((await winner.release(fence)).status).toBe(200)
  }
})

test('asked again by its holder: the same fence, renewed', async () => {
  const { claimant, look } = await start()
  const holder = claimant()
  const first = await holder.acquire({ metadata: { host: 'a' } })
  const before = await look()
  const again = await holder.acquire({ metadata: { host: 'b' }, ttl_ms: 90_000 })
  expect(again.body.fence).toBe(first.body.fence)
  const after = await look()
  expect(after).toMatchObject({
    acquired_at: before.acquired_at,
    metadata: { host: 'b' },
    ttl_ms: 90_000,
  })
  expect(Date.parse(after.renewed_at)).toBeGreaterThan(Date.parse(before.renewed_at))
  expect(codeOf(await claimant().acquire())).toBe('409 lock_held')
})

test('a lock that is held for longer than its TTL is held as long as it is renewed', async () => {
  const { name, claimant, look } = await start()
  const holder = claimant()
  const fence = await holder.take({ ttl_ms: 12_000 })
  for (let round = 0; round < 4; round += 1) {
    await age(db, name, '4 s')
    const { status, body } = await holder.renew(fence)
    expect([status, body]).toMatchObject([200, { fence, renew_ms: 4_000, valid_ms: 12_000 }])
    const { renewed_at, expires_at, ends_at } = await look()
    expect(Date.parse(expires_at) - Date.parse(renewed_at)).toBe(12_000)
    expect(ends_at).toBe(expires_at)
  }
  expect(codeOf(await claimant().acquire())).toBe('409 lock_held')
})

test('a heartbeat that is stale frees the lock long before its TTL has passed', async () => {
  const { name, claimant, look } = await start()
  const holder = claimant()
  const { body } = await holder.acquire({ ttl_ms: 600_000 })
  expect(body).toMatchObject({ fence: 1, renew_ms: 5_000, valid_ms: 15_000 })
  expect(Date.parse(body.ends_at) - Date.parse(body.expires_at)).toBe(585_000)
  await age(db, name, '5 s')
  expect(codeOf(await claimant().acquire())).toBe('409 lock_held')
  expect((await look()).state).toBe('held')
  await age(db, name, '11 s')
  expect((await look()).state).toBe('stale')
  expect(await claimant().take()).toBe(2)
  expect(codeOf(await holder.renew(1))).toBe('409 stale_fence')
  expect(codeOf(await holder.release(1))).toBe('409 stale_fence')
})

test('a stale lock that nobody has taken is saved by a late renewal, until its TTL has passed', async () => {
  const { name, claimant, look } = await start()
  const holder = claimant()
  const fence = await holder.take({ ttl_ms: 60_000 })
  await age(db, name, '30 s')
  expect((await holder.renew(fence)).body).toMatchObject({ fence })
  expect((await look()).state).toBe('held')
  await age(db, name, '61 s')
  expect((await look()).state).toBe('free')
  expect(codeOf(await holder.renew(fence))).toBe('409 stale_fence')
  // By its own process, too: nobody knows what it did meanwhile.
  expect(await holder.take()).toBe(fence + 1)
})

test('a new process of an owner takes over at once, and the old one gets nothing any more', async () => {
  const { claimant } = await start()
  const old = claimant('deployer')
  const next = claimant('deployer')
  expect(await old.take()).toBe(1)
  expect(await next.take()).toBe(2)
  expect(codeOf(await old.renew(1))).toBe('409 stale_fence')
  expect(codeOf(await old.release(1))).toBe('409 stale_fence')
  // Frozen just as it asked, it does not win the lock back from its successor.
  expect(codeOf(await old.acquire())).toBe('409 lock_held')
  expect((await next.renew(2)).status).toBe(200)
  expect(await claimant('deployer').take()).toBe(3)
})

test('an owner belongs to the token that it acquired with: only that, or an admin, takes over', async () => {
  const { name, claimant, asRole } = await start()
  const mine = await asRole('operator')
  const theirs = await asRole('operator')
  const ask = (api: Api) => new Claimant(api, name, 'deployer').acquire()
  expect((await ask(mine)).body.fence).toBe(1)
  expect(codeOf(await ask(theirs))).toBe('409 lock_held')
  expect((await ask(mine)).body.fence).toBe(2)
  expect((await claimant('deployer').acquire()).body.fence).toBe(3)
})

test('released twice, the same answer; an old fence, another owner or process releases nothing', async () => {
  const { name, claimant, look, api } = await start()
  const holder = claimant()
  const fence = await holder.take()
  const strangers = [
    () => holder.release(fence + 1),
    () => claimant().release(fence),
    () => claimant(holder.owner).release(fence),
    () => claimant(undefined, holder.boot_id).release(fence),
    () => new Claimant(api, lockName(), holder.owner, holder.boot_id).release(fence),
  ]
  for (const release of strangers) expect(codeOf(await release())).toBe('409 stale_fence')
  expect((await look()).state).toBe('held')
  const first = await holder.release(fence)
  expect(first).toMatchObject({ status: 200, body: { name, fence } })
  expect((await holder.release(fence)).body).toEqual(first.body)
  expect(codeOf(await holder.renew(fence))).toBe('409 stale_fence')
  expect(await holder.take()).toBe(fence + 1)
  expect(codeOf(await holder.release(fence))).toBe('409 stale_fence')
  expect((await look()).state).toBe('held')
})

test('force-release: audited once, told to the holder, and aimed at one fence if it says so', async () => {
  const { api, name, claimant, look } = await start()
  const force = (body: object) => api.post(`/v1/locks/${name}/force-release`, body)
  expect(codeOf(await force({ note: 'n' }))).toBe('404 not_found')
  const holder = claimant('forgetful')
  const fence = await holder.take()
  expect(await force({})).toMatchObject({ status: 400, body: { errors: [{ path: 'note' }] } })
  expect(codeOf(await force({ note: 'n', fence: fence + 1 }))).toBe('409 stale_fence')
  expect((await look()).state).toBe('held')
  for (let times = 0; times < 2; times += 1) {
    const { body } = await force({ note: 'it hangs', fence })
    expect(body).toMatchObject({ lock: { state: 'free', owner: 'forgetful', fence } })
  }
  expect(codeOf(await holder.renew(fence))).toBe('409 stale_fence')
  expect(codeOf(await holder.release(fence))).toBe('409 stale_fence')
  const audits = (await api.get('/v1/audit')).body.entries.filter(
    ({ subject }: { subject: string }) => subject === name,
  )
  expect(audits).toMatchObject([
    { action: 'lock.force_release', reason: 'it hangs', facts: { owner: 'forgetful', fence } },
  ])
  expect(await claimant().take()).toBe(fence + 1)
  expect(codeOf(await force({ note: 'late', fence }))).toBe('409 stale_fence')
  expect((await look()).state).toBe('held')
})

test('a lock that is tied to a job is free when the job ends, and is not given for one that has ended', async () => {
  const { api, claimant, look } = await start()
  const queue = `q-${randomUUID().slice(0, 8)}`
  const job = await api.submit({ queue })
  const holder = claimant()
  const fence = await holder.take({ job_id: job.id })
  expect(codeOf(await claimant().acquire())).toBe('409 lock_held')
  expect((await holder.renew(fence)).status).toBe(200)
  const epoch = await api.register(queue, { queues: [queue] })
  const [held] = await api.poll(queue, epoch)
  await api.report(queue, epoch, { job_id: job.id, fence: held?.fence, outcome: 'succeeded' })
  expect((await look()).state).toBe('free')
  expect(codeOf(await holder.renew(fence))).toBe('409 stale_fence')
  for (const job_id of [job.id, randomUUID(), 'nonsense']) {
    expect(await claimant().acquire({ job_id })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ path: 'job_id' }] },
    })
  }
  expect((await look()).fence).toBe(fence)
  expect(await claimant().take()).toBe(fence + 1)
})

test('invariant 8: a job that was submitted while an acquire waited for the row is not taken for one that is gone', async () => {
  const { api, app, name, claimant } = await start()
  waitForLocks(app)
  const holder = claimant()
  await holder.release(await holder.take())
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN')
  await blocker.query('SELECT FROM locks WHERE name = $1 FOR UPDATE', [name])
  const asked = claimant().acquire()
  const observer = await openSession(db.url)
  const waiting = `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'
    AND query LIKE '%INSERT INTO locks%' AND datname = current_database()`
  let pid: number | undefined
  while (pid === undefined) pid = (await observer.query<{ pid: number }>(waiting)).rows[0]?.pid
  await untilWaiting(observer, pid)
  expect(pid).not.toBe(await pidOf(blocker))
  const job = await api.submit()
  await blocker.query("SET LOCAL understudy.door = 'test'")
  await blocker.query(
    `UPDATE locks SET released_at = NULL, job_id = $2, fence = fence + 1,
      expires_at = clock_timestamp() + interval '1 minute',
      ends_at = clock_timestamp() + interval '1 minute' WHERE name = $1`,
    [name, job.id],
  )
  await blocker.query('COMMIT')
  expect(codeOf(await asked)).toBe('409 lock_held')
})

test('bad input is refused by the name of the field, and changes nothing', async () => {
  const { api, name, claimant } = await start()
  const cases: [Record<string, unknown>, string][] = [
    [{ ttl_ms: 999 }, 'ttl_ms'],
    [{ ttl_ms: 86_400_001 }, 'ttl_ms'],
    [{ ttl_ms: 1_500.5 }, 'ttl_ms'],
    [{ ttl_ms: undefined }, 'ttl_ms'],
    [{ wait_ms: -1 }, 'wait_ms'],
    [{ owner: '' }, 'owner'],
    [{ owner: 'two words' }, 'owner'],
    [{ boot_id: 'x'.repeat(129) }, 'boot_id'],
    [{ fence: 1 }, 'fence'],
  ]
  for (const [body, path] of cases) {
    const { status, body: problem } = await claimant().acquire(body)
    expect([path, status, problem.errors]).toMatchObject([path, 400, [{ path }]])
  }
  const large = await claimant().acquire({ metadata: { x: 'x'.repeat(4_096) } })
  expect(large).toMatchObject({
    status: 413,
    body: { code: 'payload_too_large', errors: [{ path: 'metadata' }] },
  })
  const odd = await new Claimant(api, 'two%20words').acquire()
  expect(odd).toMatchObject({ status: 400, body: { errors: [{ path: 'name' }] } })
  expect((await claimant().renew(0)).status).toBe(400)
  expect((await api.get(`/v1/locks/${name}`)).status).toBe(404)
  expect((await claimant().acquire({ metadata: { x: 'x'.repeat(4_088) } })).status).toBe(200)
})

test('locks are listed by name and state, in pages, and told by status', async () => {
  const { api } = await start()
  await db.sql('DELETE FROM locks')
  for (const name of ['a', 'b', 'c', 'd']) await new Claimant(api, name).take()
  await age(db, 'b', '20 s')
  await age(db, 'd', '61 s')
  const list = async (query: string) => (await api.must(200, api.get(`/v1/locks${query}`))).body
  const names = ({ locks }: { locks: { name: string; state: string }[] }) =>
    locks.map(({ name, state }) => `${name} ${state}`)
  expect(names(await list(''))).toEqual(['a held', 'b stale', 'c held'])
  expect(names(await list('?state=free'))).toEqual(['d free'])
  const page = await list('?limit=2')
  expect(page.next_cursor).toBe('b')
  expect(names(await list(`?limit=2&cursor=${page.next_cursor}`))).toEqual(['c held'])
  expect(JSON.stringify(await list(''))).not.toContain('boot_id')
  const { body } = await api.get('/v1/status')
  expect([body.locks_held, names(body)]).toEqual([2, ['a held', 'c held']])
})
