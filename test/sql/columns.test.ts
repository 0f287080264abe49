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
