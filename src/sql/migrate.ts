import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { sqlState } from './failure.ts'
import { connectionOptions } from './session.ts'

/**
 * Numbered, forward-only SQL migrations. One migrator works at a time, and none waits inside a
 * blocking lock: the migrators' own lock is asked for again and again, and each migration gives up
 * on a table lock after half a second and is tried again, so that it never queues in front of writers.
 */
export interface Migration {
  version: number
  name: string
  /** An older build cannot work with the schema from here on. */
  isBreaking: boolean
  checksum: string
  text: string
}

const folder = new URL('../../migrations/', import.meta.url)

/** The migrations of this build, in order. */
export async function readMigrations(from: URL = folder): Promise<Migration[]> {
  const files = (await readdir(from)).filter((file) => file.endsWith('.sql')).sort()
  return Promise.all(files.map((file, index) => readMigration(from, file, index + 1)))
}

async function readMigration(from: URL, file: string, version: number): Promise<Migration> {
  const text = await readFile(new URL(file, from), 'utf8')
  const name = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(file)
  if (!name || Number(name[1]) !== version) {
    throw new Error(`migrations/${file}: expected number ${version}, as NNNN_name.sql`)
  }
  const breaking = /^-- breaking: (yes|no)$/m.exec(text)
  if (!breaking) throw new Error(`migrations/${file}: no line "-- breaking: yes" or "no"`)
  const checksum = createHash('sha256').update(text).digest('hex')
  return { version, name: name[2] ?? '', isBreaking: breaking[1] === 'yes', checksum, text }
}

export type SchemaState = 'fits' | 'behind' | 'ahead'

interface Applied {
  version: number
  breaking: boolean
  checksum: string
}

/** Whether this build can work with the schema. Newer migrations are fine unless one is breaking. */
export async function checkSchema(client: pg.ClientBase, known: Migration[]): Promise<SchemaState> {
  const applied = await listApplied(client)
  if (applied.some(({ version, breaking }) => breaking && version > known.length)) return 'ahead'
  return known.every(({ version }) => applied.some((row) => row.version === version))
    ? 'fits'
    : 'behind'
}

async function listApplied(client: pg.ClientBase): Promise<Applied[]> {
  const { rows } = await client.query<{ exists: boolean }>(
    "SELECT to_regclass('migrations') IS NOT NULL AS exists",
  )
  if (!rows[0]?.exists) return []
  const applied = await client.query<Applied>(
    'SELECT version, breaking, checksum FROM migrations ORDER BY version',
  )
  return applied.rows
}

export interface MigrateOptions {
  url: string
  migrations?: Migration[]
  /** How long to wait for another migrator, or for table locks. */
  patienceMs?: number
  onProgress?(message: string): void
}

/** Brings the schema up to this build. Returns the versions that were applied. */
export async function migrate(options: MigrateOptions): Promise<number[]> {
  const { url, patienceMs = 60_000, onProgress } = options
  const migrations = options.migrations ?? (await readMigrations())
  const client = new pg.Client({ ...connectionOptions(url, 'migrate'), query_timeout: 0 })
  // Whatever ends the session fails the statement under way; without a listener it ends the process.
  client.on('error', (error) => onProgress?.(`the session ended: ${error.message}`))
  await client.connect()
  try {
    const deadline = performance.now() + patienceMs
    await lockOutOthers(client, deadline, onProgress)
    const pending = await findPending(client, migrations)
    for (const migration of pending) {
      await apply(client, migration, deadline, onProgress)
      onProgress?.(`applied ${label(migration)}`)
    }
    return pending.map(({ version }) => version)
  } finally {
    await client.end()
  }
}

function label({ version, name }: Migration): string {
  return `${String(version).padStart(4, '0')}_${name}`
}

async function lockOutOthers(
  client: pg.Client,
  deadline: number,
  onProgress: MigrateOptions['onProgress'],
): Promise<void> {
  for (let asked = 0; ; asked += 1) {
    const { rows } = await client.query<{ locked: boolean }>(
      'SELECT pg_try_advisory_lock(1970168947, 2) AS locked',
    )
    if (rows[0]?.locked) return
    if (asked === 0) onProgress?.('another migrator is at work; waiting for it')
    if (performance.now() > deadline)
      throw new Error('another migrator is still at work; gave up waiting')
    await sleep(200)
  }
}

async function findPending(client: pg.Client, migrations: Migration[]): Promise<Migration[]> {
  await client.query(`CREATE TABLE IF NOT EXISTS migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    breaking boolean NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`)
  const applied = new Map((await listApplied(client)).map((row) => [row.version, row]))
  for (const migration of migrations) {
    const row = applied.get(migration.version)
    if (row && row.checksum !== migration.checksum) {
      throw new Error(`${label(migration)} was changed after it was applied to this database`)
    }
  }
  return migrations.filter(({ version }) => !applied.has(version))
}

async function apply(
  client: pg.Client,
  migration: Migration,
  deadline: number,
  onProgress: MigrateOptions['onProgress'],
): Promise<void> {
  for (;;) {
    try {
      return await applyOnce(client, migration)
    } catch (error) {
      await client.query('ROLLBACK')
      if (sqlState(error) !== '55P03' || performance.now() > deadline) throw error
      onProgress?.(`${label(migration)} could not get its locks; trying again`)
      await sleep(500 * Math.random())
    }
  }
}

async function applyOnce(client: pg.Client, migration: Migration): Promise<void> {
  await client.query("BEGIN; SET LOCAL lock_timeout = '500ms'")
  await client.query(migration.text)
  await client.query(
    'INSERT INTO migrations (version, name, breaking, checksum) VALUES ($1, $2, $3, $4)',
    [migration.version, migration.name, migration.isBreaking, migration.checksum],
  )
  const { command } = await client.query('COMMIT')
  if (command !== 'COMMIT') throw new Error(`${label(migration)} ended with ${command}`)
}
