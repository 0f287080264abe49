import type { Queryable } from './pool.ts'

/** A hint for the other replicas, in a statement of its own: NOTIFY inside a hot transaction would
 *  serialise commits. */
export async function sendHints(db: Queryable, channel: string, payloads: string[]): Promise<void> {
  await db.query({
    name: 'send_hints',
    text: 'SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS p(payload)',
    values: [channel, payloads],
  })
}
