import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { expect, inject, onTestFinished, test } from 'vitest'
import { checkSchema, migrate, readMigrations } from '../../src/sql/migrate.ts'
import { cli } from '../support/cli.ts'
import { openSession } from '../support/sessions.ts'
import { tempFolder } from '../support/temp.ts'

/** An empty database, dropped when the test ends. */
async function emptyDatabase(): Promise<string> {
  const name = `${inject('template').replace('template', 'empty')}_${process.hrtime.bigint()}`
  const admin = new pg.Client({ connectionString: inject('adminUrl') })
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name}`)
  onTestFinished(async () => {
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
    await admin.end()
  })
  return Object.assign(new URL(inject('adminUrl')), { pathname: `/${name}` }).href
}

async function folderWith(files: Record<string, string>) {
  const folder = tempFolder('migrations')
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return pathToFileURL(`${folder}/`)
}

test('the command brings an empty database up to this build, and then has nothing to do', async () => {
  const url = await emptyDatabase()
  const first = await cli(['migrate', '--json'], { env: { DATABASE_URL: url } })
  expect(first.json()).toEqual({ applied: (await readMigrations()).map(({ version }) => version) })
  const second = await cli(['migrate'], { env: { DATABASE_URL: url } })
  expect([second.code, second.stdout]).toEqual([0, 'nothing to do\n'])
})

test('five migrators at once: each migration is applied once, and all end well', async () => {
  const url = await emptyDatabase()
  const applied = await Promise.all([1, 2, 3, 4, 5].map(() => migrate({ url })))
  const versions = (await readMigrations()).map(({ version }) => version)
  expect(applied.flat().sort((a, b) => a - b)).toEqual(versions)
})

test('a migrator that finds another at work never waits inside a lock', async () => {
  const url = await emptyDatabase()
  const other = await openSession(url, 'other migrator')
  await other.query('SELECT pg_advisory_lock(1970168947, 2)')
  const told = Promise.withResolvers<string>()
  const running = migrate({ url, onProgress: told.resolve })
  expect(await told.promise).toContain('another migrator')
  const { rows } = await other.query(
    `SELECT FROM pg_locks WHERE NOT granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  expect(rows).toHaveLength(0)
  await other.query('SELECT pg_advisory_unlock(1970168947, 2)')
  expect(await running).toHaveLength((await readMigrations()).length)
})

test('a migration that waits for a table gives way to the table’s users, and is tried again', async () => {
  const url = await emptyDatabase()
  await migrate({ url })
  const user = await openSession(url, 'table user')
  await user.query('BEGIN; LOCK TABLE jobs IN ACCESS SHARE MODE')
  const known = await readMigrations()
  const version = known.length + 1
  const text = 'ALTER TABLE jobs ADD COLUMN extra integer'
  const next = { version, name: 'next', isBreaking: false, checksum: '', text }
  const migrations = [...known, next]
  const told = Promise.withResolvers<string>()
  const running = migrate({ url, migrations, onProgress: told.resolve })
  expect(await told.promise).toContain('could not get its locks')
  await user.query('COMMIT')
  expect(await running).toEqual([version])
})

test('a migration that fails changes nothing, and names itself', async () => {
  const url = await emptyDatabase()
  const migrations = await readMigrations(
    await folderWith({ '0001_bad.sql': '-- breaking: no\nCREATE TABLE half (x int); SELECT 1/0' }),
  )
  await expect(migrate({ url, migrations })).rejects.toThrow('division by zero')
  const session = await openSession(url)
  const { rows } = await session.query("SELECT to_regclass('half') AS half")
  expect(rows).toEqual([{ half: null }])
})

test('a migration that was edited after it was applied is refused', async () => {
  const url = await emptyDatabase()
  const one = { '0001_one.sql': '-- breaking: no\nSELECT 1' }
  await migrate({ url, migrations: await readMigrations(await folderWith(one)) })
  const edited = { '0001_one.sql': '-- breaking: no\nSELECT 2' }
  const migrations = await readMigrations(await folderWith(edited))
  await expect(migrate({ url, migrations })).rejects.toThrow('was changed after it was applied')
})

test.each([
  [{ '0002_two.sql': '-- breaking: no' }, 'expected number 1'],
  [{ '0001_one.sql': 'SELECT 1' }, 'no line "-- breaking'],
  [{ '0001_one.sql': '-- breaking: no', '0003_three.sql': '-- breaking: no' }, 'expected number 2'],
])('a folder that is not in order is refused: %o', async (files, message) => {
  await expect(
    readMigrations(await folderWith(files as object as Record<string, string>)),
  ).rejects.toThrow(message)
})

test('a schema is behind, fits, or is ahead; newer migrations that break nothing fit', async () => {
  const url = await emptyDatabase()
  const session = await openSession(url)
  const known = await readMigrations()
  expect(await checkSchema(session, known)).toBe('behind')
  await migrate({ url, migrations: known.slice(0, 1) })
  expect(await checkSchema(session, known)).toBe('behind')
  await migrate({ url })
  expect(await checkSchema(session, known)).toBe('fits')
  const add = 'INSERT INTO migrations (version, name, breaking, checksum) VALUES ($1, $2, $3, $2)'
  await session.query(add, [100, 'more', false])
  expect(await checkSchema(session, known)).toBe('fits')
  await session.query(add, [101, 'break', true])
  expect(await checkSchema(session, known)).toBe('ahead')
})
