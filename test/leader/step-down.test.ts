import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import type { EndReason } from '../../src/leader/term.ts'
import { Client } from '../../src/sdk/index.ts'
import { lockSettings } from '../../src/sql/session.ts'
import { type Api, secretOf } from '../support/api.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { adminToken, startActive, startReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { stand, untilLost } from '../support/stand.ts'

const db = useDatabase()

async function startPair() {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  return { first, second }
}

async function createToken(api: Api, role: string): Promise<{ id: string; token: string }> {
  return (await api.must(201, api.post('/v1/tokens', { name: role, role }))).body
}

const stepDown = '/v1/leader/step-down'

test('asked to step down, the active hands over: leases go on under the successor, polls end', async () => {
  const { first, second } = await startPair()
  const epoch = await first.api.register('stays', { queues: ['stays'] })
  const job = await first.api.submit({ queue: 'stays' })
  const [assignment] = await first.api.poll('stays', epoch)
  const held = { job_id: job.id, fence: assignment?.fence }
  const waiting = first.api.post('/v1/executors/stays/poll', { epoch, wait_ms: 20_000 })
  while (first.app.wiring.waitList.size === 0) await pause()
  const { term } = await first.events.wait('promoted')
  expect(await first.api.post(stepDown, { reason: 'new kernel' })).toMatchObject({
    status: 200,
    body: { term: term.number },
  })
  expect(await waiting).toMatchObject({ status: 503, body: { code: 'controller_draining' } })
  await second.api.untilActive()
  expect(await second.api.heartbeat('stays', epoch, [held])).toMatchObject({
    held: [held],
    revoked: [],
  })
  const { body } = await second.api.get('/v1/leader')
  expect(body.terms[1]).toMatchObject({ term: term.number, end_reason: 'step_down' })
  expect((await first.api.get('/health/ready')).status).toBe(200)
  expect((await first.api.get('/health/active')).body.code).toBe('controller_standby')
})

test('what is being claimed for a poll that the hand-over ends goes back before the term does', async () => {
  // However long it takes: the bound is not what is shown here.
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, ...signals) => systemClock.sleep(ms === 150 ? 60_000 : ms, ...signals),
  }
  const first = await startActive(db, {}, { clock })
  const second = await startReplica(db)
  await second.events.wait('standing')
  const epoch = await first.api.register('claims', { queues: ['claims'] })
  const job = await first.api.submit({ queue: 'claims' })
  const client = await openSession(db.url)
  await client.query('BEGIN; LOCK TABLE jobs IN SHARE MODE')
  const waiting = first.api.post('/v1/executors/claims/poll', { epoch, wait_ms: 20_000 })
  const claiming = `SELECT FROM pg_locks WHERE relation = 'jobs'::regclass AND NOT granted`
  while ((await client.query(claiming)).rowCount === 0) await pause()
  const steppedDown = first.api.post(stepDown, {})
  expect(await waiting).toMatchObject({ status: 503, body: { code: 'controller_draining' } })
  await client.query('COMMIT')
  expect((await steppedDown).status).toBe(200)
  await second.api.untilActive()
  const ended = 'SELECT outcome FROM attempts WHERE job_id = $1'
  expect(await db.sql(ended, [job.id])).toEqual([{ outcome: 'undelivered' }])
  expect((await second.api.get(`/v1/jobs/${job.id}`)).body.job).toMatchObject({
    state: 'available',
  })
})

test('a replica that stepped down stands again, and leads when it is asked to', async () => {
  const { first, second } = await startPair()
  await first.api.must(200, first.api.request('POST', stepDown))
  await second.api.untilActive()
  const stood = () => first.events.fired.filter(({ type }) => type === 'standing').length
  while (stood() < 2) await pause()
  await second.api.must(200, second.api.post(stepDown, {}))
  await first.api.untilActive()
})

test('without another replica the same one leads the next term', async () => {
  const { api, events } = await startActive(db)
  const { term } = await events.wait('promoted')
  await api.must(200, api.post(stepDown, {}))
  const next = await events.wait('promoted', (event) => event.term.number > term.number)
  await api.untilActive()
  expect(next.term.number).toBe(term.number + 1)
})

test.each<EndReason>(['step_down', 'hand_over', 'recovery_failed'])(
  'an end by %s tells Postgres good-bye: the lock is free, also where the end of a connection is not passed on',
  async (reason) => {
    const proxy = await startPgProxy(db.url)
    proxy.hideEnds()
    // Nothing else ends a session whose client is gone, in the time of this test.
    const lock = { url: proxy.url, settings: lockSettings(600_000) }
    const duties = { recover: async () => undefined, sweep: untilLost }
    let toEnd = true
    const { gate, events } = stand(db, duties, 'says good-bye', lock, {
      trustWindowMs: 300_000,
      // Answered: no statement is under way on the lock session.
      onPing: () => {
        if (toEnd) gate.leading?.lose(reason)
        toEnd = false
      },
    })
    const { term } = await events.wait('ended')
    expect(term.endReason).toBe(reason)
    const next = await events.wait('promoted', (event) => event.term.number > term.number)
    expect(next.term.number).toBe(term.number + 1)
  },
)

test('a standby does not step down, and says who could', async () => {
  const { first, second } = await startPair()
  second.app.watch.nudge()
  while (second.app.watch.leader?.advertised_url !== first.api.url) {
    await second.api.get('/health/live')
  }
  expect(await second.api.post(stepDown, {})).toMatchObject({
    status: 503,
    body: { code: 'controller_standby', active_url: first.api.url },
  })
  expect((await first.api.get('/health/active')).status).toBe(200)
})

test('a request for a term that is over deposes no successor', async () => {
  const { first, second } = await startPair()
  const { term } = await first.events.wait('promoted')
  await first.api.must(200, first.api.post(stepDown, { term: term.number }))
  await second.api.untilActive()
  const late = await second.api.post(stepDown, { term: term.number })
  expect(late).toMatchObject({ status: 409, body: { code: 'stale_term', retryable: false } })
  expect((await second.api.get('/health/active')).status).toBe(200)
  expect(await db.sql('SELECT FROM audit WHERE subject = $1', [String(term.number)])).toHaveLength(
    1,
  )
})

test.each([
  ['a term that is none', { term: 0 }, 'term'],
  ['an unknown field', { force: true }, 'force'],
  ['a reason that is too long', { reason: 'x'.repeat(1_001) }, 'reason'],
])('%s is refused by name, and nobody steps down', async (_name, body, path) => {
  const { api } = await startActive(db)
  expect(await api.post(stepDown, body)).toMatchObject({
    status: 400,
    body: { errors: [{ path }] },
  })
  expect((await api.get('/health/active')).status).toBe(200)
})

test('what cannot be audited is not done', async () => {
  const proxy = await startPgProxy(db.url)
  const { api, app, events } = await startActive(db, {
    DATABASE_URL: proxy.url,
    UNDERSTUDY_LEADER_DATABASE_URL: db.url,
  })
  const before = await db.sql('SELECT FROM audit')
  // Its first act once the gate is open; without it, it would recover anew.
  const { term } = await events.wait('promoted')
  const floor = 'SELECT FROM terms WHERE term = $1 AND deadline_floor_at IS NOT NULL'
  while ((await db.sql(floor, [term.number])).length === 0) await pause()
  proxy.cut()
  expect((await api.post(stepDown, {})).status).toBe(503)
  expect(app.gate.state).toBe('active')
  expect(await db.sql('SELECT FROM audit')).toHaveLength(before.length)
})

test('the audit tells who did what, newest first, and keeps no secret', async () => {
  const { api } = await startActive(db)
  const { id, token } = await createToken(api, 'operator')
  const answer = await api.as(token).post(stepDown, { reason: 'weekly drill' })
  await api.must(200, Promise.resolve(answer))
  await api.must(200, api.request('DELETE', `/v1/tokens/${id}`))
  const { body } = await api.get('/v1/audit?limit=3')
  expect(body.entries).toMatchObject([
    { action: 'token.revoke', subject: id, token_id: 'bootstrap', role: 'admin', reason: null },
    {
      action: 'leader.step_down',
      subject: String(answer.body.term),
      token_id: id,
      role: 'operator',
      reason: 'weekly drill',
    },
    { action: 'token.create', subject: id, facts: { name: 'operator', role: 'operator' } },
  ])
  const older = await api.get(`/v1/audit?limit=2&cursor=${body.entries[1].id}`)
  expect(older.body.entries[0]).toEqual(body.entries[2])
  const rows = JSON.stringify(await db.sql('SELECT * FROM audit'))
  expect(rows).not.toContain(secretOf(token))
})

test('`understudy leader step-down` waits for the next term and names its leader', async () => {
  const { first, second } = await startPair()
  const { term } = await first.events.wait('promoted')
  const env = {
    UNDERSTUDY_URLS: `${second.api.url},${first.api.url}`,
    UNDERSTUDY_TOKEN: adminToken,
  }
  const done = await cli(['leader', 'step-down', '--reason', 'by hand', '--json'], { env })
  expect(done).toMatchObject({ code: 0, stderr: '' })
  expect(done.json()).toMatchObject({
    ended_term: term.number,
    term: term.number + 1,
    leader: { name: second.app.identity.name },
  })
  const shown = await cli(['leader', 'show'], { env })
  expect(shown.stdout).toMatch(
    new RegExp(`^term ${term.number + 1}, led by ${second.app.identity.name}`),
  )
  expect(shown.stdout).toMatch(new RegExp(`${term.number} +${first.app.identity.name}.*step_down`))
  const audited = await cli(['audit', '--limit', '1'], { env })
  expect(audited.stdout).toContain('by hand')
})

test('a client that asks through any replica reaches the leader', async () => {
  const { first, second } = await startPair()
  const client = new Client({ urls: [second.api.url, first.api.url], token: adminToken })
  const { term } = await client.stepDown()
  await client.close()
  expect(term).toBe((await first.events.wait('promoted')).term.number)
})
