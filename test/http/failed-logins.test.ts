import { expect, test } from 'vitest'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

const db = useDatabase()
const env = { UNDERSTUDY_FAILED_LOGINS_PER_MINUTE: '3' }

const wrong = (n: number) => `ust_${String(n).padStart(16, '0')}_${'x'.repeat(43)}`

async function createToken(api: Api): Promise<string> {
  const answer = api.post('/v1/tokens', { name: 'good', role: 'read' })
  return (await api.must(201, answer)).body.token
}

async function show(api: Api, token: string): Promise<number> {
  return (await api.as(token).get('/v1/jobs')).status
}

test('invariant 7: once an address has shown too many wrong tokens, more are 429, and a good one that was never seen passes', async () => {
  const logged = new LogLines('info')
  const { api } = await startActive(db, env, {}, logged)
  const unseen = await createToken(api)
  for (const token of [wrong(1), 'of-no-form', wrong(2)]) expect(await show(api, token)).toBe(401)
  const answer = await api.as(wrong(3)).get('/v1/jobs')
  expect(answer).toMatchObject({
    status: 429,
    body: { code: 'too_many_failures', retryable: true },
  })
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(50)
  expect(answer.body.retry_after_ms).toBeGreaterThan(50_000)
  for (const token of [wrong(4), 'another', '']) {
    expect(await show(api, token)).toBe(token === '' ? 401 : 429)
  }
  for (const token of [unseen, api.token]) expect(await show(api, token ?? '')).toBe(200)
  const warnings = logged.lines.filter(({ level }) => level === 'warn')
  expect(warnings).toMatchObject([{ address: '127.0.0.1', msg: /^too many failed logins/ }])
})

test('a token that failed too often is not looked up any more, also where its address had failed before', async () => {
  const { api } = await startActive(db, env)
  for (const n of [1, 2, 3]) expect(await show(api, wrong(n))).toBe(401)
  for (let shown = 0; shown < 3; shown += 1) expect(await show(api, wrong(4))).toBe(429)
  const session = await openSession(db.url)
  await session.query('BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE')
  expect(await show(api, wrong(4))).toBe(429)
  await session.query('ROLLBACK')
})

test('one executor with a wrong token, behind the same balancer, locks nobody out', async () => {
  const { api } = await startActive(db, env)
  const statuses: number[] = []
  for (let shown = 0; shown < 6; shown += 1) statuses.push(await show(api, wrong(1)))
  expect(statuses).toEqual([401, 401, 401, 429, 429, 429])
  expect(await show(api, await createToken(api))).toBe(200)
})

test('a token that was good and has ended counts, and so does a wrong secret of a good one', async () => {
  const { api } = await startActive(db, env)
  const [ended, good] = [await createToken(api), await createToken(api)]
  for (const token of [ended, good]) expect(await show(api, token)).toBe(200)
  await api.must(200, api.request('DELETE', `/v1/tokens/${ended.split('_')[1]}`))
  const spoilt = (n: number) => `${good.slice(0, -3)}${n}AA`
  expect(await show(api, ended)).toBe(401)
  for (const n of [1, 2]) expect(await show(api, spoilt(n))).toBe(401)
  expect(await show(api, spoilt(3))).toBe(429)
  expect(await show(api, good)).toBe(200)
})

test('a token that was not there, and tokens that are good, cost an address nothing', async () => {
  const { api } = await startActive(db, env)
  for (let n = 0; n < 5; n += 1) {
    expect((await api.as(undefined).get('/v1/jobs')).status).toBe(401)
    expect(await show(api, await createToken(api))).toBe(200)
  }
  expect(await show(api, wrong(1))).toBe(401)
})
