import { execFileSync } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres } from '../../src/dev/embedded-postgres.ts'
import { migrate } from '../../src/sql/migrate.ts'
import { makeFolder } from '../support/make-folder.ts'
import { keepFresh, root, tellFaults } from './generated.ts'

/** src/sql/schema.ts: what the migrations make, as our sessions read it (src/sql/session.ts). */
const typeMapping = {
  int8: 'number',
  timestamptz: 'string',
  // Written as text: the driver would send an array as a Postgres array, not as JSON.
  json: 'ColumnType<unknown, string, string>',
  jsonb: 'ColumnType<unknown, string, string>',
}

/** Columns of which CHECK constraints and the code say more than their SQL type does. */
const columns = {
  'attempts.error': 'ColumnType<Failure | null, string | null, string | null>',
  'late_reports.error': 'ColumnType<Failure | null, string | null, string | null>',
  'attempts.outcome': "'succeeded' | 'failed' | 'cancelled' | 'released' | 'lost' | 'undelivered'",
  'effects.state': "'begun' | 'committed' | 'aborted' | 'in_doubt'",
  'effects.on_doubt': "'retry' | 'reconcile' | 'hold'",
  'late_effects.outcome': "'committed' | 'aborted'",
  'jobs.labels': 'ColumnType<Record<string, string>, string, string>',
  'jobs.on_silence': "'continue' | 'abort'",
  'jobs.waiting_for': "'effect' | 'decision' | 'transition' | null",
  'moves.by': "'report' | 'transition' | 'commit'",
  'transitions.outcome': "'committed' | 'abandoned' | 'taken_over' | 'forced' | 'expired' | null",
  'jobs.state':
    "Generated<'available' | 'leased' | 'waiting' | 'succeeded' | 'failed' | 'cancelled'>",
  'classes.requires': 'ColumnType<Record<string, string>, string, string>',
  'executor_events.axis': "'state' | 'health' | 'drain'",
  'executors.health': "Generated<'healthy' | 'degraded' | 'faulty'>",
  'executors.state': "Generated<'healthy' | 'suspect' | 'lost' | 'deregistered'>",
  'executors.labels': 'ColumnType<Record<string, string>, string, string>',
  'replicas.role': "'all' | 'api'",
  'terms.recovery': 'Generated<ColumnType<PhaseDone[], string, string>>',
  'tokens.role': "'executor' | 'submit' | 'read' | 'operator' | 'admin'",
}

/** What those columns are made of. */
const made = `
export interface Failure { code: string; message: string; retryable: boolean }
export interface PhaseDone { phase: string; ms: number; counts: Record<string, number> }
`

const file = 'src/sql/schema.ts'
const cwd = fileURLToPath(root)

/** `url` is the address of a database with every migration, `folder` a place that goes with it. */
async function withMigratedDatabase(fn: (url: string, folder: string) => Promise<string>) {
  const folder = makeFolder('schema')
  try {
    const server = await startEmbeddedPostgres({ folder, settings: { fsync: 'off' } })
    stopWithUs(server.pid)
    try {
      await migrate({ url: server.url })
      return await fn(server.url, folder)
    } finally {
      await server.stop()
      await rm(server.folder, { recursive: true, force: true })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The server is in a process group of its own: Ctrl-C does not reach it. */
function stopWithUs(pid: number): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.kill(pid, 'SIGQUIT')
      process.exit(1)
    })
  }
}

/** As a process of its own, whose sessions have ended when it has. */
async function generateTypes(url: string, folder: string): Promise<string> {
  const out = join(folder, 'schema.ts')
  const flags = [
    '--dialect=postgres',
    '--log-level=error',
    `--type-mapping=${JSON.stringify(typeMapping)}`,
    `--overrides=${JSON.stringify({ columns })}`,
    `--out-file=${out}`,
  ]
  // It complains that it cannot parse our expressions with TypeScript 7, and takes them as they are.
  execFileSync('kysely-codegen', flags, {
    cwd,
    env: { ...process.env, DATABASE_URL: url },
    stdio: 'pipe',
  })
  return await readFile(out, 'utf8')
}

/** The generator calls the interface of all tables DB, and formats in a style of its own. */
function inOurStyle(types: string): string {
  const input = types
    .replace(/^\/\*\*[\s\S]*?\*\/\n+/, '')
    .replace('export interface DB {', 'export interface Database {')
  if (!input.includes('interface Database')) throw new Error('kysely-codegen wrote no interface DB')
  const head = '/** The tables, generated from migrations/ by `npm run schema`. Do not edit. */\n'
  const flags = ['--write', `--stdin-file-path=${file}`, '--config-path=test/drift/lint.json']
  return execFileSync('biome', ['check', ...flags], {
    cwd,
    input: head + input + made,
    encoding: 'utf8',
  })
}

const types = await withMigratedDatabase(generateTypes)
tellFaults(await keepFresh(file, inOurStyle(types), 'npm run schema'))
