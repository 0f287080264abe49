import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, test } from 'vitest'
import { applySettings, listenSettings, lockSettings, poolSettings } from '../../src/sql/session.ts'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

/** What a DBA may have set for sessions in general, and would end, block or change ours. */

const db = useDatabase()
const roles: string[] = []

beforeAll(async () => {
  // A server before 17 has none.
  const [row] = await db.sql<{ taken: string | null }>(
    "SELECT current_setting('transaction_timeout', true) AS taken",
  )
  if (row?.taken === null) delete hostile.transaction_timeout
})

afterAll(async () => {
  for (const role of roles) await db.sql(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
})

/** What a session lives under until it has set its own may not be so short that a slow start ends it. */
const hostile: Record<string, string> = {
  idle_session_timeout: '5s',
  statement_timeout: '6s',
  lock_timeout: '5ms',
  idle_in_transaction_session_timeout: '5ms',
  transaction_timeout: '6s',
  synchronous_commit: 'off',
  default_transaction_isolation: 'serializable',
  DateStyle: 'German, DMY',
}

/** The lock session idles between two pings for longer than it may by their settings; the rest holds together. */
const seldomPings = {
  UNDERSTUDY_LEADER_PING_MS: '5500',
  UNDERSTUDY_TRUST_WINDOW_MS: '14000',
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '15000',
  UNDERSTUDY_SELF_FENCE_MS: '30000',
  UNDERSTUDY_LEASE_TTL_MS: '60000',
}

/** The URL of a role of its own, no superuser, whose sessions in this database start out with `hostile`,
 *  set on the role or on the database; those of the tests themselves do not. */
async function makeHostile(where: 'role' | 'database'): Promise<string> {
  const role = `understudy_${randomBytes(4).toString('hex')}`
  roles.push(role)
  const { pathname } = new URL(db.url)
  const database = pathname.slice(1)
  await db.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'test';
    GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role};
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}`)
  for (const [name, value] of Object.entries(hostile)) {
    await db.sql(`ALTER ROLE CURRENT_USER IN DATABASE ${database} SET ${name} FROM CURRENT`)
    const target =
      where === 'role' ? `ROLE ${role} IN DATABASE ${database}` : `DATABASE ${database}`
    await db.sql(`ALTER ${target} SET ${name} TO '${value}'`)
  }
  return Object.assign(new URL(db.url), { username: role, password: 'test' }).href
}

test.for([
  ['pool', poolSettings],
  ['lock', lockSettings(3_000)],
  ['listening', listenSettings],
] as const)('a %s session keeps nothing that a DBA set', async ([, settings], { expect }) => {
  const session = await openSession(await makeHostile('role'))
  const read = async () => {
    const { rows } = await session.query<{ name: string; value: string }>(
      'SELECT name, current_setting(name) AS value FROM unnest($1::text[]) name',
      [Object.keys(hostile)],
    )
    return Object.fromEntries(rows.map(({ name, value }) => [name, value]))
  }
  expect(await read()).toEqual(hostile)
  expect(await applySettings(session, settings)).toEqual([])
  const kept = Object.entries(await read()).filter(([name, value]) => value === hostile[name])
  expect(kept).toEqual([])
})

test.for(['role', 'database'] as const)(
  'whatever a DBA set on the %s, replicas lead, serve and fail over',
  async (where, { expect }) => {
    const url = await makeHostile(where)
    const first = await startActive({ url }, seldomPings)
    const second = await startReplica({ url }, seldomPings)
    const queue = `q-${randomUUID().slice(0, 8)}`
    const executor = `e-${randomUUID().slice(0, 8)}`
    const epoch = await first.api.register(executor, { queues: [queue] })
    const job = await first.api.submit({ queue })
    const [given] = await first.api.poll(executor, epoch)
    const held = { job_id: job.id, fence: given?.fence }
    await second.events.wait('standing')
    // Longer than from one ping to the next, and so than a session may idle by their settings.
    await db.sql('SELECT pg_sleep(6)')
    expect(first.events.fired.map(({ type }) => type)).not.toContain('ended')
    await db.terminate(`understudy ${first.app.identity.name} lock`)
    await second.api.untilActive()
    expect((await second.api.heartbeat(executor, epoch, [held])).held).toEqual([held])
    const report = { ...held, outcome: 'succeeded' }
    expect(await second.api.report(executor, epoch, report)).toMatchObject([{ status: 'accepted' }])
    expect(first.events.fired.filter(({ type }) => type === 'promoted')).toHaveLength(1)
    expect(second.events.fired.filter(({ type }) => type === 'promoted')).toHaveLength(1)
  },
)
