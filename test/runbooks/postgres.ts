import { rm } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll } from 'vitest'
import type { EmbeddedPostgres } from '../../src/dev/embedded-postgres.ts'
import { migrate } from '../../src/sql/migrate.ts'
import { makeFolder } from '../support/make-folder.ts'
import { startOwnPostgres } from '../support/own-postgres.ts'

const settings = { fsync: 'off', full_page_writes: 'off', max_connections: '100' }

/** A Postgres of one's own: it can be stopped, and its databases are as `understudy migrate` makes them,
 *  without the guards that other tests add. */
export class OwnPostgres {
  readonly #folder: string
  #server: EmbeddedPostgres | undefined
  #port: number | undefined
  #isRunning = false

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Nothing, if it runs. */
  async start(): Promise<void> {
    if (this.#isRunning) return
    this.#server = await startOwnPostgres({
      folder: this.#folder,
      settings,
      ...(this.#port === undefined ? {} : { port: this.#port }),
    })
    this.#port = this.#server.port
    this.#isRunning = true
  }

  async stop(): Promise<void> {
    this.#isRunning = false
    await this.#server?.stop()
  }

  /** The folder that was asked for, and the one that the data went to. */
  async remove(): Promise<void> {
    await this.stop()
    for (const folder of new Set([this.#folder, this.#server?.folder ?? this.#folder])) {
      await rm(folder, { recursive: true, force: true })
    }
  }

  url(database: string): string {
    if (!this.#server) throw new Error('Postgres is not started')
    return Object.assign(new URL(this.#server.url), { pathname: `/${database}` }).href
  }

  /** As a superuser, outside any database of ours. */
  async administer(statement: string): Promise<void> {
    const admin = new pg.Client({ connectionString: this.#server?.adminUrl })
    await admin.connect()
    try {
      await admin.query(statement)
    } finally {
      await admin.end()
    }
  }

  async createDatabase(name: string, template = 'template1'): Promise<void> {
    await this.administer(`CREATE DATABASE ${name} TEMPLATE ${template} OWNER understudy`)
  }

  async dropDatabase(name: string): Promise<void> {
    await this.administer(`DROP DATABASE ${name} WITH (FORCE)`)
  }
}

/** The name of a database to clone. */
export const migrated = 'migrated'

/** One server for all tests of a file. */
export function useOwnPostgres(): () => OwnPostgres {
  let server: OwnPostgres | undefined
  const get = () => {
    if (!server) throw new Error('Postgres is not there yet')
    return server
  }
  beforeAll(async () => {
    server = new OwnPostgres(makeFolder('runbooks'))
    await server.start()
    await server.createDatabase(migrated)
    await migrate({ url: server.url(migrated) })
  })
  afterAll(() => server?.remove())
  return get
}
