import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { pause } from '../support/pause.ts'
import { RawConnection } from '../support/raw.ts'
import { adminToken, startActive } from '../support/replica.ts'

const db = useDatabase()

const start = 'POST /v1/jobs HTTP/1.1\r\nHost: x'
const auth = `Authorization: Bearer ${adminToken}`
const json = 'Content-Type: application/json'
const job = '{"kind":"x"}'
const chunked = `c\r\n${job}\r\n0\r\n\r\n`

async function jobCount(): Promise<number> {
  const [row] = await db.sql<{ count: number }>('SELECT count(*) FROM jobs')
  return row?.count ?? -1
}

const corpus: [string, string, number, string][] = [
  [
    'Content-Length and Transfer-Encoding',
    `${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    400,
    'invalid_request',
  ],
  [
    'Transfer-Encoding and Content-Length',
    `${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n${chunked}`,
    400,
    'invalid_request',
  ],
  [
    'two lengths',
    `${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'a signed length',
    `${start}\r\n${auth}\r\n${json}\r\nContent-Length: +12\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'a coding that is not chunked',
    `${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked, identity\r\n\r\n${chunked}`,
    400,
    'invalid_request',
  ],
  [
    'a chunk whose size is none',
    `${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    400,
    'invalid_request',
  ],
  [
    'a chunk that is longer than it says',
    `${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n${job}\r\n0\r\n\r\n`,
    400,
    'invalid_request',
  ],
  [
    'endless chunk extensions',
    `${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\nc;${'x'.repeat(20_000)}`,
    413,
    'payload_too_large',
  ],
  [
    'a blank before a colon',
    `${start}\r\n${auth}\r\n${json}\r\nContent-Length : 12\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'a folded header',
    `${start}\r\n${auth}\r\nX-A: 1\r\n 2\r\n${json}\r\nContent-Length: 12\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'a bare line feed',
    `${start}\n${auth}\n${json}\nContent-Length: 12\n\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'a zero byte in a header',
    `${start}\r\nX-A: \0\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  [
    'no Host',
    `POST /v1/jobs HTTP/1.1\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n\r\n${job}`,
    400,
    'invalid_request',
  ],
  ['another protocol', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'invalid_request'],
  ['no protocol at all', '\x16\x03\x01\x02\x00\x01\x00', 400, 'invalid_request'],
  ['no version', 'GET /health/live\r\n\r\n', 400, 'invalid_request'],
  [
    'too large a header',
    `GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  [
    'too long a URL',
    `GET /health/live?${'x'.repeat(20_000)} HTTP/1.1\r\n`,
    431,
    'headers_too_large',
  ],
]

test('what is no proper request is refused with a problem, and its connection closed', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  // What follows on the connection is not read as a request of its own.
  const smuggled = `${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n\r\n${job}`
  for (const [name, sent, status, code] of corpus) {
    const raw = new RawConnection(api.url).write(sent + smuggled)
    await raw.closed
    expect([name, ...raw.statuses]).toEqual([name, status])
    expect(raw.problem(), name).toMatchObject({ status, code })
    expect(raw.received.toLowerCase()).toContain(`x-request-id: ${raw.problem().request_id}`)
  }
  // What was begun would have ended by now: the pool of clients has just been asked once for each session.
  await Promise.all(Array.from({ length: 20 }, () => api.get('/v1/jobs')))
  expect(await jobCount()).toBe(before)
})

test('what this corpus spoils is served as long as it is whole', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const raw = new RawConnection(api.url)
  raw.write(`${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n\r\n${job}`)
  raw.write(`${start}\r\n${auth}\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`)
  raw.write('GET /health/live HTTP/1.0\r\n\r\n')
  await raw.closed
  expect(raw.statuses).toEqual([201, 201, 200])
  expect(await jobCount()).toBe(before + 2)
})

test('what follows the last request of a connection is not read, and that one is answered', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const request = `${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n`
  const raw = new RawConnection(api.url).write(
    `${request}Connection: close\r\n\r\n${job}${request}\r\n${job}`,
  )
  await raw.closed
  expect(raw.statuses).toEqual([201])
  expect(await jobCount()).toBe(before + 1)
})

test('a malformed request that follows a parked one takes nobody’s answer', async () => {
  const { api, app } = await startActive(db)
  const { id } = await api.submit({ delay_ms: 60_000 })
  const raw = new RawConnection(api.url)
  raw.write(`GET /v1/jobs/${id}?wait_ms=20000 HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`)
  while (app.wiring.waitList.size < 1) await pause()
  raw.write('nonsense\r\n\r\n')
  await raw.closed
  expect(raw.received).toBe('')
})

/** Far below the time that a whole request has. */
const quick = { headersMs: 200, lookMs: 20 }
const small = { bodyPace: { graceMs: 200, slowest: 10 } }

test('a header that comes byte by byte is cut with 408', async () => {
  const { api } = await startActive(db, {}, { edge: quick })
  const raw = new RawConnection(api.url).write('GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: ')
  const sent = await raw.drip('x')
  expect(sent).toBeGreaterThan(1)
  expect(raw.statuses).toEqual([408])
  expect(raw.problem()).toMatchObject({ code: 'request_timeout' })
})

test('a connection on which nothing is ever said is closed', async () => {
  const { api } = await startActive(db, {}, { edge: quick })
  const raw = new RawConnection(api.url)
  await raw.closed
  expect(raw.received).not.toMatch(/HTTP\/1\.1 [235]/)
})

test.each([
  ['with a length', 'Content-Length: 100000', ' '],
  ['in chunks', 'Transfer-Encoding: chunked', '1\r\n \r\n'],
])('a body that comes byte by byte, %s, is cut with 408', async (_how, length, drip) => {
  const { api } = await startActive(db, {}, { edge: small })
  const before = await jobCount()
  const raw = new RawConnection(api.url).write(
    `${start}\r\n${auth}\r\n${json}\r\n${length}\r\n\r\n`,
  )
  await raw.drip(drip)
  expect(raw.statuses).toEqual([408])
  expect(raw.problem()).toMatchObject({ code: 'request_timeout' })
  expect(await jobCount()).toBe(before)
})

test('what follows a body that was cut is not done: nobody would hear of it', async () => {
  const logged = new LogLines('debug')
  const { api, app } = await startActive(db, {}, { edge: small }, logged)
  const told = (code: string) => logged.lines.some((line) => line.code === code)
  const { id } = await api.submit({ delay_ms: 60_000 })
  const before = await jobCount()
  const raw = new RawConnection(api.url)
  raw.write(`GET /v1/jobs/${id}?wait_ms=20000 HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`)
  while (app.wiring.waitList.size < 1) await pause()
  const request = `${start}\r\n${auth}\r\n${json}\r\nContent-Length: 12\r\n\r\n`
  raw.write(request)
  while (!told('request_timeout')) await pause()
  raw.write(`${job}${request}${job}`)
  while (!told('invalid_request') && (await jobCount()) === before) await pause()
  expect(await jobCount()).toBe(before)
})

test('a malformed URL is refused once, and holds no connection, however it goes on', async () => {
  const { api } = await startActive(db)
  const rest = `Transfer-Encoding: chunked\r\n\r\n`
  for (const end of ['', 'zz\r\n', '1\r\n ']) {
    const raw = new RawConnection(api.url).write(`POST /%zz HTTP/1.1\r\nHost: x\r\n${rest}${end}`)
    await raw.closed
    expect([end, ...raw.statuses]).toEqual([end, 400])
    expect(raw.problem()).toMatchObject({ code: 'invalid_request' })
  }
})

test('malformed URLs count among what waits on a connection', async () => {
  const { api, app } = await startActive(db, {}, { edge: { maxUnanswered: 3 } })
  const { id } = await api.submit({ delay_ms: 60_000 })
  const raw = new RawConnection(api.url)
  raw.write(`GET /v1/jobs/${id}?wait_ms=20000 HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`)
  while (app.wiring.waitList.size < 1) await pause()
  raw.write('GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3))
  await raw.closed
  expect(raw.received).toBe('')
  while (app.wiring.waitList.size > 0) await pause()
})

test('who was refused does not hold the connection by a body that never ends', async () => {
  const { api } = await startActive(db, {}, { edge: small })
  const raw = new RawConnection(api.url).write(
    `${start}\r\n${json}\r\nContent-Length: 100000\r\n\r\n`,
  )
  await raw.drip(' ')
  expect(raw.statuses).toEqual([401])
})

test('a body that keeps the pace is not cut, however long it takes', async () => {
  const bodyPace = { graceMs: 500, slowest: 0.0001 }
  const { api } = await startActive(db, {}, { edge: { ...small, bodyPace } })
  const body = `{"kind":"x","payload":"${'x'.repeat(300)}"}`
  const raw = new RawConnection(api.url)
  raw.write(`${start}\r\n${auth}\r\n${json}\r\nContent-Length: ${body.length}\r\n\r\n`)
  const drip = [...body]
  while (drip.length > 0) {
    raw.write(drip.splice(0, 2).join(''))
    await pause()
  }
  await raw.until(/\r\n\r\n{/)
  expect(raw.statuses).toEqual([201])
})

test('a connection that rests between two requests is closed after its time', async () => {
  const { api } = await startActive(db, {}, { edge: { keepAliveMs: 50 } })
  const raw = new RawConnection(api.url).write('GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n')
  await raw.closed
  expect(raw.statuses).toEqual([200])
})
