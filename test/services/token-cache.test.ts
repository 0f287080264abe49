import type pg from 'pg'
import { expect, test } from 'vitest'
import { TokenCache } from '../../src/services/token-cache.ts'
import { useDatabase } from '../support/database.ts'

const db = useDatabase()

test('a token in memory is not believed for a second longer than its revocation was asked about', async () => {
  let now = 0
  let answered = Promise.resolve()
  const query = async <Row extends pg.QueryResultRow>({ text, values }: pg.QueryConfig) => {
    await answered
    return { rows: await db.sql<Row>(text, values) } as pg.QueryResult<Row>
  }
  const cache = new TokenCache({ query }, { monotonic: () => now, sleep: async () => undefined })
  await db.sql("INSERT INTO tokens (id, name, role, secret_hash) VALUES ('t', 'x', 'read', '')")
  expect(await cache.find('t')).toMatchObject({ id: 't' })
  expect(cache.has('t')).toBe(true)

  const { promise, resolve } = Promise.withResolvers<void>()
  answered = promise
  await db.sql("UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = 't'")
  now = 1_000
  expect(await cache.find('t')).toMatchObject({ id: 't' })
  now = 1_001
  const asked = cache.find('t')
  resolve()
  expect(await asked).toBeUndefined()
})

test('an answer is as old as its question: one that was long under way is asked again before anybody is let in', async () => {
  let now = 0
  let held: Promise<void> | undefined
  let onRead: () => void = () => undefined
  const query = async <Row extends pg.QueryResultRow>({ text, values }: pg.QueryConfig) => {
    const rows = await db.sql<Row>(text, values)
    onRead()
    await held
    return { rows } as pg.QueryResult<Row>
  }
  const cache = new TokenCache({ query }, { monotonic: () => now, sleep: async () => undefined })
  await db.sql("INSERT INTO tokens (id, name, role, secret_hash) VALUES ('u', 'x', 'read', '')")
  expect(await cache.find('u')).toMatchObject({ id: 'u' })

  const [read, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  onRead = read.resolve
  held = answer.promise
  now = 600
  expect(await cache.find('u')).toMatchObject({ id: 'u' })
  await read.promise
  await db.sql("UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = 'u'")
  now = 2_200
  const asked = cache.find('u')
  held = undefined
  answer.resolve()
  expect(await asked).toBeUndefined()
})
