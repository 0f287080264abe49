import { expect, test } from 'vitest'
import { requireJson } from '../../src/http/edge.ts'
import { useDatabase } from '../support/database.ts'
import { RawConnection } from '../support/raw.ts'
import { adminToken, startActive } from '../support/replica.ts'

const db = useDatabase()

async function jobCount(): Promise<number> {
  const [row] = await db.sql<{ count: number }>('SELECT count(*) FROM jobs')
  return row?.count ?? -1
}

const job = '{"kind":"x"}'

function request(...headers: string[]): string {
  const auth = `Authorization: Bearer ${adminToken}`
  const head = ['POST /v1/jobs HTTP/1.1', 'Host: x', auth, 'Connection: close', ...headers]
  return `${head.join('\r\n')}\r\nContent-Length: ${job.length}\r\n\r\n${job}`
}

test.each([
  'application/json',
  'Application/JSON',
  'application/json; charset=utf-8',
  'application/json;charset=UTF-8',
])('a body of type %s is taken', async (type) => {
  const { api } = await startActive(db)
  const raw = new RawConnection(api.url).write(request(`Content-Type: ${type}`))
  await raw.closed
  expect(raw.statuses).toEqual([201])
})

const strange = [
  '',
  'json',
  'text/plain',
  'text/json',
  'application/jsonx',
  'application/json+x',
  'application/vnd.api+json',
  'application/json;',
  'application/json;foo',
  'application/json; foo=bar',
  'application/json;  charset=utf-8',
  'application/json ; charset=utf-8',
  'application/json;\tcharset=utf-8',
  'application/json\t; charset=utf-8',
  'application/json\ta',
  'application/json a',
  'application/json, text/plain',
  'application/json; charset=utf-16',
  'application/json; charset=iso-8859-1',
  'application/json; charset="utf-8"',
  'application/json; charset=utf-8; charset=utf-16',
  'application/json; charset=utf-8;',
  'text/plain; application/json',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  'undefined',
]

test('a body of any other type is 415, and nobody looks into it', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  for (const type of strange) {
    const raw = new RawConnection(api.url).write(request(`Content-Type: ${type}`))
    await raw.closed
    expect([type, ...raw.statuses]).toEqual([type, 415])
    expect(raw.problem()).toMatchObject({ code: 'unsupported_media_type' })
  }
  const untyped = new RawConnection(api.url).write(request())
  await untyped.closed
  expect(untyped.statuses).toEqual([415])
  expect(await jobCount()).toBe(before)
})

test('blanks round a type, which Node takes off, would not be forgiven', () => {
  for (const type of [
    ' application/json',
    '\tapplication/json',
    'application/json ',
    '\u00a0application/json',
  ]) {
    const check = () => requireJson({ method: 'POST', headers: { 'content-type': type } })
    expect(check, JSON.stringify(type)).toThrow('send application/json')
  }
})

const nested = (levels: number) => `${'[{"a":'.repeat(levels / 2)}0${'}]'.repeat(levels / 2)}`
const keys = (count: number) => `{${Array.from({ length: count }, (_, n) => `"${n}:":1`).join()}}`

test.each([
  ['64 levels', `{"kind":"x","payload":{"b":${nested(62)}}}`],
  ['10000 keys in each of two objects', `{"kind":"x","payload":[${keys(10_000)},${keys(10_000)}]}`],
])('a body with %s is taken', async (_what, raw) => {
  const { api } = await startActive(db)
  await api.must(201, api.post('/v1/jobs', undefined, { raw }))
})

test.each([
  [
    '65 levels',
    `{"kind":"x","payload":{"b":[${nested(62)}]}}`,
    `payload.b.0${'.0.a'.repeat(31)}`.slice(0, -2),
    'nested deeper than 64 levels',
  ],
  [
    'more levels than a stack has',
    `{"kind":"x","payload":${'['.repeat(200_000)}`,
    `payload${'.0'.repeat(63)}`,
    'nested deeper than 64 levels',
  ],
  [
    '10001 keys in one object',
    `{"kind":"x","payload":[{},{"a":${keys(10_001)}}]}`,
    'payload.1.a',
    'more than 10000 keys in one object',
  ],
])('a body with %s is refused by the path to them', async (_what, raw, path, message) => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const { status, body } = await api.post('/v1/jobs', undefined, { raw })
  expect(status).toBe(400)
  expect(body).toMatchObject({ code: 'invalid_request', errors: [{ path, message }] })
  expect(await jobCount()).toBe(before)
})

test('a path to a fault is told as far as it helps', async () => {
  const { api } = await startActive(db)
  const raw = `{"kind":"x","payload":{"${'long'.repeat(1_000)}":1e999}}`
  const { body } = await api.post('/v1/jobs', undefined, { raw })
  expect(body.errors[0].path).toMatch(/^payload\.(long)+/)
  expect(body.errors[0].path).toHaveLength(256)
})

test('colons outside of any object are held against no later body', async () => {
  const { api } = await startActive(db)
  const refused = async (raw: string) => (await api.post('/v1/jobs', undefined, { raw })).body.code
  await refused(':'.repeat(10_000))
  expect(await refused(':')).toBe('malformed_json')
})

test('what is no JSON is told where, and never what', async () => {
  const { api } = await startActive(db)
  for (const [raw, detail] of [
    ['{"kind":"x","payload":"secret"', 'the body is not JSON at position 30 (line 1 column 31)'],
    ['secret', 'the body is not JSON'],
    ['{"payload":secret}', 'the body is not JSON'],
    ['', 'the body is empty'],
  ] as const) {
    const { body } = await api.post('/v1/jobs', undefined, { raw })
    expect(body).toMatchObject({ status: 400, code: 'malformed_json', detail })
  }
})
