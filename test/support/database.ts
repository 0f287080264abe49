import { createHash } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, inject } from 'vitest'
import { patientOptions } from './patience.ts'

export interface TestDatabase {
  readonly url: string
  /** Plain SQL, past both doors: for staging and looking. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>
  /** Ends sessions by application name; returns how many. */
  terminate(applicationName: string): Promise<number>
}

/** A database of its own for this test file, cloned from the template; kept when a test fails. */
export function useDatabase(): TestDatabase {
  const adminUrl = inject('adminUrl')
  const template = inject('template')
  const file = expect.getState().testPath ?? ''
  const hash = createHash('sha256').update(file).digest('hex').slice(0, 8)
  const name = `${template.replace('template', 'test')}_${hash}`
  const url = Object.assign(new URL(adminUrl), { pathname: `/${name}` }).href
  let hasFailed = false
  let pool: pg.Pool | undefined

  beforeAll(async () => {
    await administer(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${template}`)
    pool = new pg.Pool({ ...patientOptions(url, 'test'), max: 4 })
    pool.on('error', () => undefined)
    pool.on('connect', (client) => {
      client.on('error', () => undefined)
    })
  })
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => {
      hasFailed = true
    })
  })
  afterAll(async () => {
    await pool?.end()
    if (!hasFailed) await administer(adminUrl, `DROP DATABASE ${name} WITH (FORCE)`)
  })

  const sql: TestDatabase['sql'] = async (text, values) => {
    if (!pool) throw new Error('the database is not there yet')
    const client = await pool.connect()
    try {
      await client.query("SET understudy.door = 'test'")
      return (await client.query(text, values)).rows
    } finally {
      client.release()
    }
  }
  return {
    url,
    sql,
    terminate: async (applicationName) => {
      const rows = await sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = $1`,
        [applicationName],
      )
      return rows.length
    },
  }
}

async function administer(adminUrl: string, statement: string) {
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    await admin.query(statement)
  } finally {
    await admin.end()
  }
}
