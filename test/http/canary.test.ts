import { randomBytes, randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { type Answer, Api, secretOf } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { RawConnection } from '../support/raw.ts'
import { startActive } from '../support/replica.ts'

const db = useDatabase()

const canaries = new Map<string, string>()

/** Text that must turn up nowhere but where its owner asked for it: no hexadecimal digits, and short enough
 *  to survive where a message quotes a few characters. */
function canary(name: string): string {
  const text = Array.from(randomBytes(8), (byte) => 'ghjkmnpqrstvwxyz'[byte & 15]).join('')
  canaries.set(text, name)
  return text
}

function sightings(texts: string[]): string[] {
  const found = [...canaries].filter(([text]) => texts.some((each) => each.includes(text)))
  return found.map(([, name]) => name)
}

/** A role with a password of its own, and the rights of the tables' owner. */
async function useMarkedRole(password: string): Promise<string> {
  const role = `canary_${randomUUID().slice(0, 8)}`
  await db.sql(
    `DO $$ BEGIN EXECUTE format('CREATE ROLE ${role} LOGIN PASSWORD ''${password}'' IN ROLE %I', current_user); END $$`,
  )
  onTestFinished(async () => {
    await db.sql(`DROP ROLE ${role}`)
  })
  return Object.assign(new URL(db.url), { username: role, password }).href
}

/** What Postgres says of a row that it refuses, with the row in it. */
async function refuseOddJobs() {
  await db.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'bad value %', CASE TG_ARGV[0] WHEN '22P02' THEN NEW.payload::text END
      USING ERRCODE = TG_ARGV[0], DETAIL = NEW.payload::text; END $$`)
  for (const state of ['22P02', '42501', '57014']) {
    await db.sql(`CREATE TRIGGER "refuse_${state}" BEFORE INSERT ON jobs FOR EACH ROW
      WHEN (NEW.kind = 'odd-${state}') EXECUTE FUNCTION refuse('${state}')`)
  }
  await db.sql("ALTER TABLE jobs ADD CHECK (kind <> 'odd-23514') NOT VALID")
}

async function start() {
  const adminToken = canary('admin token')
  const url = await useMarkedRole(canary('database password'))
  const logged = new LogLines('trace')
  const env = { UNDERSTUDY_ADMIN_TOKEN: adminToken, UNDERSTUDY_FAILED_LOGINS_PER_MINUTE: '3' }
  const { api: first, app } = await startActive({ url }, env, {}, logged)
  const api = new Api(first.url, adminToken)
  const told: string[] = []
  /** As anybody: what is answered must hold no canary. */
  const ask = async (method: string, path: string, body?: unknown, init = {}): Promise<Answer> => {
    const answer = await api.request(method, path, body, init)
    told.push(JSON.stringify([answer.body, [...answer.headers]]))
    return answer
  }
  const post = (path: string, body: unknown) => ask('POST', path, body)
  return { api, app, logged, told, ask, post }
}

test('no secret and nothing that a job carries is logged, or told to who did not ask for it', async () => {
  const { api, app, logged, told, ask, post } = await start()
  const answers = [
    await post('/v1/jobs', { kind: { a: canary('kind of the wrong type') }, payload: 1 }),
    await post('/v1/jobs', { kind: 'x', priority: canary('number of the wrong type') }),
    await post('/v1/jobs', { kind: 'x', labels: { a: `\0${canary('label with U+0000')}` } }),
    await post('/v1/jobs', { kind: 'x', payload: canary('large').repeat(40_000) }),
    await post('/v1/jobs', { kind: 'x', payload: canary('too large').repeat(80_000) }),
    await ask('POST', '/v1/jobs', undefined, {
      raw: `{"kind":"x","payload":${canary('no JSON')}}`,
    }),
    await ask('POST', '/v1/jobs', canary('text'), { headers: { 'content-type': 'text/plain' } }),
    await ask('GET', `/v1/jobs?limit=${canary('query')}`),
  ]
  expect(answers.map(({ status }) => status)).toEqual([400, 400, 400, 413, 413, 400, 415, 400])
  // The path of a fault is told to who sent it, and may be a secret in the wrong place.
  const lost = `{"kind":"x","payload":{"${canary('key of a number')}":1e999}}`
  await api.must(400, api.post('/v1/jobs', undefined, { raw: lost }))
  await api.must(400, api.post('/v1/jobs', { kind: 'x', [canary('field')]: 1 }))
  await api.must(404, api.get(`/v1/jobs/${canary('path')}`))
  for (const name of ['first', 'second', 'third', 'fourth']) {
    const token = canary(`${name} wrong token`)
    const answer = await ask('GET', '/v1/jobs', undefined, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(answer.status).toBe(name === 'fourth' ? 429 : 401)
  }
  const raw = new RawConnection(api.url).write(
    `GET / HTTP/1.1\r\nX: ${canary('malformed')}\0\r\n\r\n`,
  )
  await raw.closed
  told.push(raw.received)
  await refuseOddJobs()
  for (const [state, status] of [
    ['22P02', 400],
    ['23514', 500],
    ['42501', 500],
    ['57014', 503],
  ] as const) {
    const answer = await post('/v1/jobs', {
      kind: `odd-${state}`,
      payload: canary(`row of ${state}`),
    })
    expect([state, answer.status]).toEqual([state, status])
  }
  await ask('GET', '/v1/status')
  await ask('GET', '/v1/leader')
  await ask('GET', `/metrics?${canary('query of a scrape')}`)
  await ask('GET', `/${canary('no route')}`)
  expect((await ask('GET', '/metrics')).body).toContain('understudy_http_requests_total')
  expect(sightings(told)).toEqual([])
  await app.stop()
  expect(logged.texts.length).toBeGreaterThan(20)
  expect(sightings(logged.texts)).toEqual([])
})

test('what a job carries through its life, and who carries it, is in no log', async () => {
  const { api, app, logged, told, ask, post } = await start()
  const token = (await api.post('/v1/tokens', { name: 'x', role: 'executor' })).body.token
  canaries.set(token, 'token').set(secretOf(token), 'secret of a token')
  const [payload, result] = [canary('payload'), canary('result')]
  const headers = { 'x-canary': canary('header'), cookie: canary('cookie') }
  const body = { kind: 'x', payload: { [canary('key')]: payload } }
  const { id } = (await api.post('/v1/jobs', body, { headers })).body.job
  const executor = api.as(token)
  const epoch = await executor.register('worker')
  const held = { job_id: id, fence: (await executor.poll('worker', epoch))[0]?.fence }
  await executor.heartbeat('worker', epoch, [{ ...held, progress: canary('progress') }])
  const error = { code: canary('error code'), message: canary('error message') }
  await post('/v1/executors/worker/report', {
    epoch,
    reports: [{ ...held, outcome: 'failed', error: [error] }],
  })
  const large = { ...held, outcome: 'succeeded', result: canary('large result').repeat(40_000) }
  await post('/v1/executors/worker/report', { epoch, reports: [large] })
  for (const late of [
    { outcome: 'succeeded', result },
    { outcome: 'failed', error },
  ]) {
    await post('/v1/executors/worker/report', { epoch, reports: [{ ...held, ...late }] })
  }
  await ask('GET', '/v1/jobs')
  await ask('GET', '/v1/executors')
  await ask('GET', '/v1/tokens')
  expect((await ask('GET', '/metrics')).body).toContain('understudy_leases_ended_total{')
  expect(sightings(told)).toEqual([])
  expect(await api.job(id)).toMatchObject({ state: 'succeeded', payload: body.payload, result })
  // Sessions that end under a request are told of, without what they carried.
  const session = `understudy ${logged.lines[0]?.name}`
  await Promise.all([
    ...Array.from({ length: 20 }, () => post('/v1/jobs', { kind: 'x', payload: { payload } })),
    db.terminate(session),
  ])
  await app.stop()
  expect(logged.lines.map(({ msg }) => msg)).toContain('job reported')
  expect(sightings(logged.texts)).toEqual([])
})
