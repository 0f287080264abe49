import { once } from 'node:events'
import { request as send } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { limits } from '../../src/contract/common.ts'
import { maxHeaderBytes } from '../../src/http/edge.ts'
import { type Behave, digestOf, ok, startStage, unserved } from './stand-in.ts'

/** What HAProxy sends to the other replica, and what it never does. The replicas are scripted; both are in
 *  use whatever they answer to probes, so that nothing is avoided instead of repeated. */

const key = { 'Idempotency-Key': 'k' }
const beat = '/v1/executors/e/heartbeat'
const report = '/v1/executors/e/report'

async function stage() {
  const all = await startStage()
  await all.balancer.failOpen()
  const receivedBy = (path: string) => all.receivers(path).map(({ by }) => by)
  return { ...all, receivedBy }
}

/** Every kind of request that the balancer might be tempted to repeat. */
const posts: [path: string, headers: Record<string, string>][] = [
  [beat, {}],
  ['/v1/executors/e/poll', {}],
  ['/v1/executors/e/report', {}],
  ['/v1/jobs/j/effects/k/begin', {}],
  ['/v1/jobs', key],
  ['/v1/jobs', {}],
  ['/v1/jobs/j/cancel', {}],
]

test.each([...posts, ['/v1/jobs/batch', {}], ['/v1/leader/step-down', {}]] as typeof posts)(
  'POST %s %o is sent to the other replica when its connection is refused',
  async (path, headers) => {
    const { one, api, receivedBy } = await stage()
    await one.leave()
    for (let sent = 1; sent <= 4; sent += 1) {
      expect(await api.post(path, {}, { headers })).toMatchObject({ status: 200 })
      expect(receivedBy(path)).toEqual(Array(sent).fill('two'))
    }
  },
)

// A 503 with the code database_unavailable may follow a commit: HAProxy sees no codes.
test.each([
  ['/v1/executors/register', {}, 'repeated'],
  ['/v1/executors/e/report', {}, 'repeated'],
  ['/v1/jobs/j/effects/k/begin', {}, 'repeated'],
  ['/v1/jobs/j/critical', {}, 'repeated'],
  ['/v1/jobs', key, 'repeated'],
  ['/v1/jobs/j/cancel', {}, 'repeated'],
  ['/v1/jobs', {}, 'passed on'],
  ['/v1/jobs/batch', key, 'passed on'],
  ['/v1/jobs/j/retry', key, 'passed on'],
  ['/v1/jobs/j/output', {}, 'passed on'],
  [beat, {}, 'passed on'],
  ['/v1/executors/e/poll', {}, 'passed on'],
  ['/v1/leader/step-down', {}, 'passed on'],
] as [string, Record<string, string>, string][])(
  'a 503 of a replica to POST %s %o is %s',
  async (path, headers, outcome) => {
    const { one, two, api, receivedBy } = await stage()
    one.behave = unserved('database_unavailable')
    two.behave = ok
    const answers = []
    for (let sent = 1; sent <= 4; sent += 1) answers.push(await api.post(path, {}, { headers }))
    const isRepeated = outcome === 'repeated'
    expect(answers.map(({ status }) => status).sort()).toEqual(
      isRepeated ? [200, 200, 200, 200] : [200, 200, 503, 503],
    )
    const by = Map.groupBy(receivedBy(path), (name) => name)
    expect(by.get('two')).toHaveLength(isRepeated ? 4 : 2)
    expect(by.get('one')?.length).toBeGreaterThanOrEqual(2)
    if (!isRepeated) expect(by.get('one')).toHaveLength(2)
    for (const { status, body } of answers) {
      if (status === 503) expect(body).toMatchObject({ code: 'database_unavailable' })
    }
  },
)

test('a read that one replica refuses is served by the other', async () => {
  const { one, api } = await stage()
  one.behave = unserved('database_unavailable')
  for (let sent = 1; sent <= 4; sent += 1) expect((await api.get('/v1/jobs')).status).toBe(200)
})

test('what both replicas refuse is answered with the refusal, and its hint', async () => {
  const { one, two, api } = await stage()
  for (const each of [one, two]) each.behave = unserved('controller_standby')
  const answer = await api.post(report, {})
  expect(answer).toMatchObject({ status: 503, body: { code: 'controller_standby' } })
  expect(answer.headers.get('retry-after')).toBe('1')
})

const broken: Record<string, Behave> = {
  'no answer at all': (response) => response.destroy(),
  'a reset': (response) => response.socket?.resetAndDestroy(),
  'half a header': (response) => {
    response.socket?.end('HTTP/1.1 200 OK\r\nContent-Le')
  },
  'no HTTP': (response) => {
    response.socket?.end('what?\r\n\r\n')
  },
  'half a body': (response) => {
    response.writeHead(200, { 'Content-Length': '100' })
    response.write('{"half":', () => response.destroy())
  },
  'a 500': (response) => response.writeHead(500).end(),
  'a 504': (response) => response.writeHead(504).end(),
}

test.each(Object.entries(broken))('%s is never asked for again', async (_what, behave) => {
  const { one, two, api, receivedBy } = await stage()
  // On a fresh connection, and on one that has served.
  for (const round of [1, 2]) {
    for (const [at, [path, headers]] of posts.entries()) {
      for (const each of [one, two]) each.behave = behave
      const url = `${path}?round=${round}-${at}`
      const outcome = await api.post(url, {}, { headers, raw: '{}' }).catch(() => undefined)
      expect(outcome?.status ?? 502).toBeGreaterThanOrEqual(500)
      expect(receivedBy(url)).toHaveLength(1)
      for (const each of [one, two]) each.behave = ok
      expect((await api.post(path, {})).status).toBe(200)
    }
  }
})

test('the largest single submit, with the largest header, is sent again as a whole', async () => {
  const { one, api, receivers } = await stage()
  one.behave = unserved('controller_draining')
  const raw = JSON.stringify({ payload: '' }).padEnd(limits.submitBodyBytes)
  const headers = { ...key, 'X-Much': 'x'.repeat(maxHeaderBytes - 1_024) }
  for (let sent = 1; sent <= 2; sent += 1) {
    expect((await api.post('/v1/jobs', undefined, { raw, headers })).status).toBe(200)
  }
  const got = receivers('/v1/jobs')
  expect(got.map(({ by }) => by)).toEqual(expect.arrayContaining(['one', 'two']))
  expect(new Set(got.map(({ digest }) => digest))).toEqual(new Set([digestOf(raw)]))
})

test('a submit that comes bit by bit is held until it is whole, and sent again as a whole', async () => {
  const { one, balancer, receivers } = await stage()
  one.behave = unserved('controller_draining')
  const raw = 'x'.repeat(100_000)
  for (let sent = 1; sent <= 2; sent += 1) {
    const headers = { ...key, 'Content-Length': raw.length, Expect: '100-continue' }
    const request = send(`${balancer.url}/v1/jobs`, { method: 'POST', headers })
    request.flushHeaders()
    // The balancer's word that it has the header, and waits for the body before it turns to a replica.
    await once(request, 'continue')
    request.end(raw)
    const [response] = await once(request, 'response')
    await text(response)
    expect(response.statusCode).toBe(200)
  }
  const got = receivers('/v1/jobs')
  expect(got.map(({ by }) => by)).toEqual(expect.arrayContaining(['one', 'two']))
  expect(new Set(got.map(({ bytes }) => bytes))).toEqual(new Set([raw.length]))
})

test('the largest body of all passes', async () => {
  const { api, receivers } = await stage()
  const raw = 'x'.repeat(limits.bodyBytes)
  expect((await api.post('/v1/jobs/batch', undefined, { raw })).status).toBe(200)
  expect(receivers('/v1/jobs/batch').map(({ digest }) => digest)).toEqual([digestOf(raw)])
})
