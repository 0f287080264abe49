import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { ReplicaList } from '../../src/sdk/replica-list.ts'
import { type Call, Transport } from '../../src/sdk/transport.ts'

/** The far side, as a replica, a balancer or a broken box would answer it: a real socket. */
async function listen(handler: RequestListener): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const nobody = 'http://127.0.0.1:9'

function call(urls: string[], more: Partial<Call> = {}, sleeps: number[] = []) {
  let now = 0
  const replicas = new ReplicaList(urls)
  const transport = new Transport(replicas, 'token', {
    monotonic: () => now,
    sleep: async (ms) => {
      sleeps.push(ms)
      now += ms
    },
  })
  onTestFinished(() => transport.close())
  const answer = transport.call<unknown>({
    method: 'POST',
    path: '/x',
    timeoutMs: 1_000,
    patienceMs: 60_000,
    isRepeatable: true,
    ...more,
  })
  return { answer, replicas, transport }
}

const serve = (body: unknown) => listen((_request, response) => response.end(JSON.stringify(body)))

const refuse = (problem: object) =>
  listen((_request, response) => {
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' })
    response.end(JSON.stringify({ status: 503, ...problem }))
  })

test('a replica that is gone is left at once for the next, and the good one is kept', async () => {
  const sleeps: number[] = []
  const good = await serve({ ok: 1 })
  const { answer, replicas } = call([nobody, good], {}, sleeps)
  expect(await answer).toEqual({ ok: 1 })
  expect(sleeps).toEqual([])
  expect(replicas.current).toBe(good)
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

test('a replica that does not answer in time is left, and so is what is parked at it', async () => {
  const silent = await listen(() => undefined)
  const good = await serve({ ok: 6 })
  const replicas = new ReplicaList([silent, good])
  const polls = new Transport(replicas, 'token')
  const beats = new Transport(replicas, 'token')
  onTestFinished(async () => {
    await Promise.all([polls.close(), beats.close()])
  })
  const base = { method: 'POST', path: '/x', patienceMs: 60_000, isRepeatable: true } as const
  const parked = polls.call({ ...base, timeoutMs: 60_000, isParked: true })
  expect(await beats.call({ ...base, timeoutMs: 100 })).toEqual({ ok: 6 })
  expect(await parked).toEqual({ ok: 6 })
})
