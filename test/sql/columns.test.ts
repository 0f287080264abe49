import { expect, test } from 'vitest'
import { columns } from '../../src/sql/columns.ts'
import { useDatabase } from '../support/database.ts'

const db = useDatabase()

test('JSON of any text comes through unnest() as it went in, and null stays null', async () => {
  const texts = [
    ...['', '"', '\\', '\\"', '{},', 'NULL', "'", '\n\t\r\b', '\0', 'é😀', '\ud800', '\\u0000'],
    ...['a\\', '{"a":["b"]}', ' '.repeat(3)],
  ].map((text) => JSON.stringify({ [text]: text }))
  const rows = [...texts, null, 'null'].map((text, id) => ({ id, text }))
  const back = await db.sql<{ id: number; text: string | null }>(
    'SELECT id, text::text FROM unnest($1::integer[], $2::json[]) AS r(id, text)',
    columns(rows, ['id', 'text'], ['text']),
  )
  expect(back).toEqual(rows)
})

test('text, numbers, truth and bytes of any kind come through unnest() as they went in', async () => {
  const texts = ['', '"', '\\', '\\"', '{},', 'NULL', "'", ' ', '\n\t\r\b', 'é😀', 'a\\', null]
  const rows = texts.map((text, nth) => ({
    text,
    whole: text === null ? null : 2 ** 40 + nth,
    real: nth / 8,
    truth: nth % 2 === 0,
    bytes: text === null ? null : Buffer.from(`\0${text}`),
    at: text === null ? null : '2026-01-01T00:00:00.000Z',
  }))
  const back = await db.sql(
    `SELECT * FROM unnest($1::text[], $2::bigint[], $3::real[], $4::boolean[], $5::bytea[], $6::timestamptz[])
      AS r(text, whole, real, truth, bytes, at)`,
    columns(rows, ['text', 'whole', 'real', 'truth', 'bytes', 'at']),
  )
  expect(back).toEqual(rows)
})
