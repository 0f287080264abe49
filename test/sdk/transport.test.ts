import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { ReplicaList } from '../../src/sdk/replica-list.ts'
import { Transport } from '../../src/sdk/transport.ts'
import { listen } from '../support/listen.ts'
import { call, refuse, serve } from './call.ts'

const nobody = 'http://127.0.0.1:9'

test('a replica that is gone is left at once for the next, and the good one is kept', async () => {
  const sleeps: number[] = []
  const good = await serve({ ok: 1 })
  const { answer, replicas } = call([nobody, good], {}, sleeps)
  expect(await answer).toEqual({ ok: 1 })
  expect(sleeps).toEqual([])
  expect(replicas.current.url).toBe(good)
})

test('503 of a standby: on to the active it names, if that is in our own list', async () => {
  const asked: string[] = []
  const active = await listen((_request, response) => {
    asked.push('active')
    response.end('{}')
  })
  const other = await listen((_request, response) => {
    asked.push('other')
    response.writeHead(503).end()
  })
  const standby = await refuse({ code: 'controller_standby', active_url: active })
  await call([standby, other, active]).answer
  expect(asked).toEqual(['active'])
  const stranger = await refuse({ code: 'controller_standby', active_url: 'http://evil.example' })
  const good = await serve({ ok: 2 })
  expect(await call([stranger, good]).answer).toEqual({ ok: 2 })
})

test('when all were tried it waits as long as a replica said, not longer', async () => {
  const sleeps: number[] = []
  let refusals = 0
  const recovering = await listen((_request, response) => {
    refusals += 1
    if (refusals > 3) return response.end('{"ok":3}')
    return response.writeHead(503).end('{"code":"controller_recovering","retry_after_ms":40}')
  })
  expect(await call([recovering, nobody], {}, sleeps).answer).toEqual({ ok: 3 })
  expect(sleeps).toEqual([40, 40, 40])
})

test('a balancer’s own 503 has no body: Retry-After counts, then backoff with full jitter', async () => {
  const sleeps: number[] = []
  let asked = 0
  const balancer = await listen((_request, response) => {
    asked += 1
    if (asked === 1) return response.writeHead(503, { 'retry-after': '2' }).end()
    if (asked < 12) return response.writeHead(503).end('<html>')
    return response.end('{"ok":4}')
  })
  expect(await call([balancer], {}, sleeps).answer).toEqual({ ok: 4 })
  expect(sleeps[0]).toBe(2_000)
  expect(sleeps).toHaveLength(11)
  for (const ms of sleeps.slice(1)) expect(ms).toBeLessThanOrEqual(5_000)
})

test('patience ends: unavailable, with what the last replica said', async () => {
  const down = await refuse({ code: 'database_unavailable', detail: 'no database' })
  const { answer } = call([down, nobody], { patienceMs: 3_000 })
  await expect(answer).rejects.toMatchObject({ code: 'unavailable' })
})

test('any other refusal is the answer, with its code, and is not asked of anybody else', async () => {
  let asked = 0
  const refusing = await listen((_request, response) => {
    response.writeHead(409).end('{"code":"stale_epoch","detail":"too old"}')
  })
  const other = await listen((_request, response) => {
    asked += 1
    response.end('{}')
  })
  await expect(call([refusing, other]).answer).rejects.toMatchObject({
    status: 409,
    code: 'stale_epoch',
    message: 'too old',
  })
  expect(asked).toBe(0)
})

test('a broken answer is asked for again only if the request may be repeated', async () => {
  const breaking = () =>
    listen((request) => {
      request.socket.destroy()
    })
  const good = await serve({ ok: 5 })
  expect(await call([await breaking(), good]).answer).toEqual({ ok: 5 })
  const once = call([await breaking(), good], { isRepeatable: false })
  await expect(once.answer).rejects.toMatchObject({ code: 'unavailable' })
  expect(await call([nobody, good], { isRepeatable: false }).answer).toEqual({ ok: 5 })
})

test.each([500, 502, 504, 429])('%i is left for the next replica', async (status) => {
  const failing = await listen((_request, response) => response.writeHead(status).end('<html>'))
  const good = await serve({ ok: 7 })
  const { answer, replicas } = call([failing, good])
  expect(await answer).toEqual({ ok: 7 })
  expect(replicas.current.url).toBe(good)
})

test.each([
  ['a page that says 200', 200, '<html>log in'],
  ['a redirect', 302, ''],
  ['a page that says 404', 404, '<html>'],
  ['JSON without a code', 403, '"blocked"'],
])('%s is no answer of a replica', async (_name, status, body) => {
  const proxy = await listen((_request, response) => response.writeHead(status).end(body))
  expect(await call([proxy, await serve({ ok: 8 })]).answer).toEqual({ ok: 8 })
  await expect(call([proxy], { patienceMs: 0 }).answer).rejects.toMatchObject({
    code: 'unavailable',
    message: `no replica served the request; the last, ${proxy}: answered ${status}, and not as a replica does`,
  })
})

test.each([
  [503, '{"code":"controller_standby"}', true],
  [503, '{"code":"database_unavailable"}', false],
  [503, '', false],
  [500, '{"code":"internal"}', false],
  [502, '<html>', false],
  [429, '', true],
  [429, '{"code":"too_many_failures"}', true],
  [408, '{"code":"request_timeout"}', true],
])('%i %s: what may not be repeated is sent again: %s', async (status, body, isSent) => {
  const failing = await listen((_request, response) => response.writeHead(status).end(body))
  const { answer } = call([failing, await serve({ ok: 9 })], { isRepeatable: false })
  if (isSent) expect(await answer).toEqual({ ok: 9 })
  else await expect(answer).rejects.toMatchObject({ code: 'unavailable' })
})

test.each([
  ['{"retry_after_ms":0}', {}, [20, 20]],
  ['{"retry_after_ms":9e9}', {}, [5_000, 5_000]],
  ['', { 'retry-after': '3600' }, [5_000, 5_000]],
])(
  'however long a replica says, %s %o, it waits within reason',
  async (body, headers, [least, most]) => {
    const sleeps: number[] = []
    const down = await listen((_request, response) => response.writeHead(503, headers).end(body))
    const { answer } = call([down], { patienceMs: 12_000 }, sleeps)
    await expect(answer).rejects.toMatchObject({ code: 'unavailable' })
    expect(Math.min(...sleeps)).toBe(least)
    expect(Math.max(...sleeps)).toBe(most)
  },
)

test.each([
  ['{"retry_after_ms":"soon","detail":5,"active_url":7}', {}],
  ['', { 'retry-after': 'Wed, 21 Oct 2037 07:28:00 GMT' }],
])('a hint that is none, %s %o, is passed over', async (body, headers) => {
  const sleeps: number[] = []
  const down = await listen((_request, response) => response.writeHead(503, headers).end(body))
  const { answer } = call([down], { patienceMs: 1_000 }, sleeps)
  await expect(answer).rejects.toMatchObject({ code: 'unavailable' })
  for (const ms of sleeps) expect(ms).toBeLessThan(1_000)
})

test('closing ends what is under way and refuses what comes later, also between two tries', async () => {
  const base = { method: 'GET', path: '/x', timeoutMs: 60_000, isRepeatable: true } as const
  const asked = Promise.withResolvers<void>()
  const silent = await listen(() => asked.resolve())
  const transport = new Transport(new ReplicaList([silent]), 'token')
  const waiting = transport.call({ ...base, patienceMs: 60_000 })
  await asked.promise
  await transport.close()
  await expect(waiting).rejects.toMatchObject({ message: 'the connection is closed' })
  const late = transport.call({ ...base, patienceMs: 60_000 })
  await expect(late).rejects.toMatchObject({ message: 'the connection is closed' })

  const pausing = new AbortController()
  const refused = new Transport(new ReplicaList([nobody]), 'token', {
    monotonic: () => 0,
    sleep: async (_ms, ...signals) => {
      pausing.abort()
      await once(signals.find((signal) => signal !== undefined) as AbortSignal, 'abort')
    },
  })
  const between = refused.call({ ...base, patienceMs: Number.POSITIVE_INFINITY })
  if (!pausing.signal.aborted) await once(pausing.signal, 'abort')
  await refused.close()
  await expect(between).rejects.toMatchObject({ message: 'the connection is closed' })
})

test('a token is shown without the blanks around it; one that no header can carry is refused', async () => {
  const shown = Promise.withResolvers<string | undefined>()
  const answer: RequestListener = (request, response) => {
    shown.resolve(request.headers.authorization)
    response.end('{}')
  }
  const replicas = new ReplicaList([await listen(answer)])
  const transport = new Transport(replicas, ' token\n')
  onTestFinished(() => transport.close())
  await transport.call({
    method: 'GET',
    path: '/x',
    timeoutMs: 30_000,
    patienceMs: 0,
    isRepeatable: true,
  })
  expect(await shown.promise).toBe('Bearer token')
  for (const token of ['to ken', 'tökén', '']) {
    expect(() => new Transport(replicas, token)).toThrow('the token must be')
  }
})

test('a body that JSON cannot express is thrown back at once, and nobody is asked', async () => {
  await expect(call([nobody], { body: { n: 10n } }).answer).rejects.toThrow(TypeError)
})

test('a large body has as long as it takes on a slow line', async () => {
  let asked = 0
  const slow = await listen((request, response) => {
    asked += 1
    request.resume().once('end', () => setTimeout(() => response.end('{"ok":5}'), 100))
  })
  const { answer } = call([slow], { timeoutMs: 1, body: 'x'.repeat(300_000) })
  expect(await answer).toEqual({ ok: 5 })
  expect(asked).toBe(1)
})
