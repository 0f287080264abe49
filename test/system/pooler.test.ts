import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import { testPath } from '../../src/sql/self-test.ts'
import { useDatabase } from '../support/database.ts'
import { launchServe } from '../support/processes.ts'
import { openSession } from '../support/sessions.ts'
import { tempFolder } from '../support/temp.ts'
import { findTool } from '../support/tools.ts'

const db = useDatabase()

/** A real PgBouncer in front of the database. Returns the URL through it. */
async function startPooler(settings: Record<string, string>): Promise<string> {
  const folder = tempFolder('pgbouncer')
  const port = await findFreePort()
  const target = new URL(db.url)
  const file = join(folder, 'pgbouncer.ini')
  const own = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'any',
    ignore_startup_parameters: 'extra_float_digits',
    ...settings,
  }
  await writeFile(
    file,
    [
      '[databases]',
      `* = host=${target.hostname} port=${target.port} user=${target.username} password=${target.password}`,
      '[pgbouncer]',
      ...Object.entries(own).map(([name, value]) => `${name} = ${value}`),
    ].join('\n'),
  )
  // It refuses to run as root.
  const ids = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const pooler = spawn(findTool('pgbouncer'), [file], { stdio: 'ignore', ...ids })
  onTestFinished(() => void pooler.kill('SIGKILL'))
  const url = Object.assign(new URL(db.url), { hostname: '127.0.0.1', port: String(port) }).href
  await untilConnects(url)
  await openServers(url, 3)
  return url
}

/** Makes the pooler hold several sessions with Postgres, as one in use does. */
async function openServers(url: string, count: number) {
  const clients = await Promise.all(Array.from({ length: count }, () => openSession(url)))
  const busy = clients.map((client) => client.query('SELECT pg_sleep(0.1)'))
  await Promise.all(busy)
}

async function untilConnects(url: string) {
  for (;;) {
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if ((error as { code?: string }).code !== 'ECONNREFUSED') throw error
    }
  }
}

// However it hands out its servers: the one used last, one after the other, or just one.
test.each([
  { pool_mode: 'transaction', default_pool_size: '20' },
  { pool_mode: 'transaction', default_pool_size: '1' },
  { pool_mode: 'transaction', default_pool_size: '20', server_round_robin: '1' },
  { pool_mode: 'statement', default_pool_size: '20' },
])('a real PgBouncer is refused by the self-test: %o', async (settings) => {
  const pooled = await startPooler(settings)
  for (const urls of [
    { databaseUrl: pooled, leaderDatabaseUrl: pooled },
    { databaseUrl: pooled, leaderDatabaseUrl: db.url },
    { databaseUrl: db.url, leaderDatabaseUrl: pooled },
  ]) {
    const found = await testPath(urls, 'through a pooler', new AbortController().signal)
    expect(new Set(found.map(({ reason }) => reason))).toEqual(new Set(['transaction_pooler']))
  }
})

test('`understudy serve` through a transaction pooler says so and exits 2, and has led nothing', async () => {
  const url = await startPooler({ pool_mode: 'transaction', default_pool_size: '20' })
  const serve = await launchServe({ url }, 'pooled')
  await serve.process.exited
  expect(serve.process.exitCode).toBe(2)
  expect(await readFile(serve.logFile, 'utf8')).toContain(
    'database refused:\n  - transaction_pooler: DATABASE_URL leads through a transaction pooler',
  )
  expect(await db.sql('SELECT FROM replicas')).toEqual([])
  expect(await db.sql('SELECT term FROM leader')).toEqual([{ term: 0 }])
})
