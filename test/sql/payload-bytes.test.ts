import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'

const db = useDatabase()

test('a job that a build before inserts is measured, as one that says its size itself is not', async () => {
  const insert = (more: string, value: string) =>
    db.sql<{ payload_bytes: number }>(
      `INSERT INTO jobs (id, class_id, queue, kind, scheduled, priority, run_at, claim_at, max_attempts,
          backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload${more})
        VALUES (gen_random_uuid(), 1, 'q', 'k', false, 0, now(), now(), 5, 1, 2, 1, 'continue', '{}',
          '{"text":"é"}'${value})
        RETURNING payload_bytes`,
    )
  expect(await insert('', '')).toEqual([{ payload_bytes: 13 }])
  expect(await insert(', payload_bytes', ', 7')).toEqual([{ payload_bytes: 7 }])
})
