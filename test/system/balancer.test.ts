import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { balancerConfig } from '../drills/stage/balancer.ts'
import { findTool } from '../support/tools.ts'
import { type Received, startStage } from './stand-in.ts'

/** Where HAProxy sends what, and what becomes of requests under way when a replica goes. The replicas are
 *  scripted: what is told is what HAProxy makes of docker/haproxy.cfg. */

const executorCalls = [
  'POST /v1/executors/register',
  'POST /v1/executors/e/heartbeat',
  'POST /v1/executors/e/poll',
  'POST /v1/executors/e/report',
  'POST /v1/executors/e/drain',
  'POST /v1/executors/e/deregister',
  'POST /v1/jobs/j/effects/k/begin',
  'POST /v1/jobs/j/effects/k/commit',
  'POST /v1/jobs/j/critical',
  'POST /v1/leader/step-down',
]
const clientCalls = [
  'POST /v1/jobs',
  'POST /v1/jobs/batch',
  'POST /v1/jobs/j/cancel',
  'POST /v1/jobs/j/output',
  'GET /v1/jobs/j',
  'GET /v1/jobs/j/effects',
  'GET /v1/executors',
  'GET /v1/status',
  'GET /docs',
]

test('HAProxy takes the configuration without a warning', () => {
  const env = {
    UNDERSTUDY_ONE: '127.0.0.1:1',
    UNDERSTUDY_TWO: '127.0.0.1:2',
    BALANCER_SOCKET: '/s',
  }
  execFileSync(findTool('haproxy'), ['-c', '-dW', '-f', balancerConfig], { env, stdio: 'pipe' })
})

test.each(executorCalls)('%s goes to the active replica alone', async (call) => {
  const { api, receivers, one, two, balancer } = await startStage()
  const [method = '', path = ''] = call.split(' ')
  for (let sent = 1; sent <= 4; sent += 1) await api.request(method, path, {})
  expect(receivers(path).map(({ by }) => by)).toEqual(Array(4).fill('one'))
  one.probes.active = 503
  two.probes.active = 200
  await balancer.untilState('active/one', (state) => state === 'NOLB')
  await balancer.untilState('active/two', (state) => state === 'UP')
  await api.request(method, path, {})
  expect(receivers(path).map(({ by }) => by)).toEqual([...Array(4).fill('one'), 'two'])
})

test.each(clientCalls)('%s goes to every replica that is ready', async (call) => {
  const { api, receivers, one, balancer } = await startStage()
  const [method = '', path = ''] = call.split(' ')
  const ask = () => api.request(method, path, method === 'GET' ? undefined : {})
  for (let sent = 1; sent <= 4; sent += 1) expect((await ask()).status).toBe(200)
  const by = () => receivers(path).map((each) => each.by)
  expect(by().sort()).toEqual(['one', 'one', 'two', 'two'])
  one.probes.ready = 503
  await balancer.untilState('ready/one', (state) => state === 'NOLB')
  for (let sent = 1; sent <= 2; sent += 1) await ask()
  expect(by().slice(4)).toEqual(['two', 'two'])
})

test('an answer says which replica gave it', async () => {
  const { api } = await startStage()
  expect((await api.post('/v1/executors/e/heartbeat', {})).headers.get('x-served-by')).toBe('one')
})

/** A request that its replica holds until it is told to answer. */
async function underWay(path: string, how: Awaited<ReturnType<typeof startStage>>) {
  const { one, two, events, api } = how
  let finish = () => undefined as unknown
  for (const each of [one, two]) {
    each.behave = (response) => {
      finish = () => response.setHeader('content-type', 'application/json').end('{}')
    }
  }
  const answer = api.post(path, {}).then(
    ({ status, body }) => ({ status, body }),
    () => undefined,
  )
  const received = await events.wait('request', (request) => request.path === path)
  return { answer, received: received as Received, finish: () => finish() }
}

const both = [
  ['active', '/v1/executors/e/poll'],
  ['ready', '/v1/jobs'],
] as const

test.each(both)(
  'a replica that says 503 to /health/%s finishes what it has: %s is answered',
  async (backend, path) => {
    const stage = await startStage()
    const { answer, received, finish } = await underWay(path, stage)
    const replica = received.by as 'one' | 'two'
    stage[replica].probes[backend] = 503
    await stage.balancer.untilState(`${backend}/${replica}`, (state) => state === 'NOLB')
    finish()
    expect(await answer).toEqual({ status: 200, body: {} })
  },
)

test.each(both)(
  'a replica that is silent to /health/%s loses what it has: %s is ended, and not asked again',
  async (backend, path) => {
    const stage = await startStage()
    const { answer, received } = await underWay(path, stage)
    const replica = received.by as 'one' | 'two'
    stage[replica].probes[backend] = 'silent'
    await received.hungUp
    const ended = await answer
    expect([502, 503, undefined]).toContain(ended?.status)
    expect(ended?.body).toBe(undefined)
    expect((await stage.balancer.states())[`${backend}/${replica}`]).toBe('DOWN')
    expect(stage.receivers(path)).toHaveLength(1)
  },
)

test('one probe without an answer takes no replica out', async () => {
  const { one, balancer, events } = await startStage()
  const untilProbes = async (more: number) => {
    const count = () => events.fired.filter((e) => e.type === 'active' && e.by === 'one').length
    for (const seen = count(); count() < seen + more; ) await sleep(5)
  }
  one.probes.active = 'silent'
  await untilProbes(1)
  one.probes.active = 200
  await untilProbes(2)
  expect(await balancer.states()).toMatchObject({ 'active/one': 'UP' })
  expect(await balancer.count('active/one', 'chkfail')).toBe(1)
  expect(await balancer.count('active/one', 'chkdown')).toBe(0)
})

test('a replica hears of a client that hung up', async () => {
  const { balancer, one, events } = await startStage()
  one.behave = () => undefined
  const hangingUp = new AbortController()
  const poll = fetch(`${balancer.url}/v1/executors/e/poll`, {
    method: 'POST',
    body: '{}',
    signal: hangingUp.signal,
  }).catch(() => 'hung up')
  const received = await events.wait('request')
  hangingUp.abort()
  expect(await poll).toBe('hung up')
  await received.hungUp
})

test('the balancer’s own 503 has no body', async () => {
  const { one, two, balancer } = await startStage()
  for (const each of [one, two]) await each.leave()
  for (const server of ['active/one', 'active/two', 'ready/one', 'ready/two'] as const) {
    await balancer.untilState(server, (state) => state === 'DOWN')
  }
  for (const path of ['/v1/executors/e/poll', '/v1/jobs']) {
    const answer = await fetch(`${balancer.url}${path}`, { method: 'POST', body: '{}' })
    expect(answer.status).toBe(503)
    expect(answer.headers.get('content-length')).toBe('0')
    expect(answer.headers.get('x-served-by')).toBe(null)
    expect(await answer.text()).toBe('')
  }
})

test('it logs what went wrong, and no token, query or body', async () => {
  const { one, two, balancer } = await startStage()
  for (const each of [one, two]) await each.leave()
  await balancer.untilState('ready/one', (state) => state === 'DOWN')
  await balancer.untilState('ready/two', (state) => state === 'DOWN')
  const logged = new Promise<string>((resolve) => {
    balancer.onLog((line) => line.includes('/v1/jobs') && resolve(line))
  })
  await fetch(`${balancer.url}/v1/jobs?label=query-secret`, {
    method: 'POST',
    headers: { authorization: 'Bearer token-secret', 'Idempotency-Key': 'key-secret' },
    body: 'body-secret',
  })
  expect(await logged).toMatch(/ POST \/v1\/jobs 503 /)
  expect(balancer.lines.join('\n')).not.toContain('secret')
})
