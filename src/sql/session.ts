import type { ClientConfig } from 'pg'
import pg from 'pg'

/** What every session of ours has in common: how values are read, and the settings that bound it. */

const { builtins } = pg.types

function toSafeNumber(text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number)) throw new RangeError(`bigint ${text} is beyond a JSON number`)
  return number
}

/** Never throws, or one row would hide every list that it is in: what lies beyond the wire's years is
 *  told as the nearest instant within them. */
function toInstant(text: string): string {
  const at = new Date(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'))
  if (/^\d{4}-/.test(text) && !text.endsWith('BC') && !Number.isNaN(at.getTime())) {
    return at.toISOString()
  }
  return /^-|BC$/.test(text) ? '0001-01-01T00:00:00.000Z' : '9999-12-31T23:59:59.999Z'
}

const parsers: Record<number, (text: string) => unknown> = {
  [builtins.INT8]: toSafeNumber,
  [builtins.TIMESTAMPTZ]: toInstant,
}

/** Terms, fences and epochs are JSON numbers, and instants ISO strings, from the driver on. */
const types = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    parsers[oid] ?? pg.types.getTypeParser(oid, format),
} as pg.CustomTypesConfig

/** Options of a connection. Timeouts on this side are longer than their peers on the server's. */
export function connectionOptions(url: string, name: string): ClientConfig {
  return {
    connectionString: url,
    application_name: `understudy ${name}`.slice(0, 63),
    connectionTimeoutMillis: 2_000,
    query_timeout: 6_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 1_000,
    types,
  }
}

export type SessionSettings = Record<string, string>

/** Every session sets all of these itself: a DBA may have set any of them on the role or the database. A
 *  peer that vanished without a word is noticed within seconds, where the server allows it. */
const common: SessionSettings = {
  // how timestamps are read depends on it
  DateStyle: 'ISO',
  client_connection_check_interval: '500ms',
  tcp_keepalives_idle: '2',
  tcp_keepalives_interval: '1',
  tcp_keepalives_count: '3',
  tcp_user_timeout: '3000',
  idle_in_transaction_session_timeout: '3s',
  lock_timeout: '2s',
  transaction_timeout: '0',
  synchronous_commit: 'on',
  default_transaction_isolation: 'read committed',
}

/** Sessions of the pool: nothing runs, waits or idles in a transaction for long. */
export const poolSettings: SessionSettings = {
  ...common,
  statement_timeout: '5s',
  idle_session_timeout: '0',
}

/** What the leader asks is asked over and over, and has one good plan: Postgres would plan some of it anew each time,
 *  in more time than it takes to run. */
export const leaderPoolSettings: SessionSettings = {
  ...poolSettings,
  plan_cache_mode: 'force_generic_plan',
  // A plan that is made while a table is empty is kept until the table is analyzed, however large it has become.
  enable_seqscan: 'off',
}

/** The lock session: Postgres itself drops a frozen, stalled or half-open leader or waiter. */
export function lockSettings(idleSessionTimeoutMs: number): SessionSettings {
  return {
    ...common,
    statement_timeout: '3s',
    idle_session_timeout: `${idleSessionTimeoutMs}ms`,
  }
}

/** The listening session: asked every second, so silence for ten means a frozen replica. */
export const listenSettings: SessionSettings = {
  ...common,
  statement_timeout: '3s',
  idle_session_timeout: '10s',
}

/** SET after connect, never as start-up parameters, which poolers refuse. Returns the names of settings
 *  that this server refuses or ignores: then only a margin is lost, and that is to be said. */
export async function applySettings(
  client: pg.ClientBase,
  settings: SessionSettings,
): Promise<string[]> {
  try {
    return await set(client, settings)
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error
  }
  const untaken: string[] = []
  for (const [name, value] of Object.entries(settings)) {
    try {
      untaken.push(...(await set(client, { [name]: value })))
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      untaken.push(name)
    }
  }
  return untaken
}

/** Returns the names of settings that read back as zero, which is how a server says that it has no such thing
 *  (tcp_user_timeout on a socket file). A server before 17 has no transaction_timeout, and so none to undo. */
async function set(client: pg.ClientBase, settings: SessionSettings): Promise<string[]> {
  const { rows } = await client.query<{ name: string; taken: string }>(
    `SELECT name, set_config(name, value, false) AS taken FROM unnest($1::text[], $2::text[]) AS s(name, value)
      WHERE name <> 'transaction_timeout' OR current_setting(name, true) IS NOT NULL`,
    [Object.keys(settings), Object.values(settings)],
  )
  return rows
    .filter(({ name, taken }) => taken === '0' && settings[name] !== '0')
    .map(({ name }) => name)
}
