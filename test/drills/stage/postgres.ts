import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../../src/dev/embedded-postgres.ts'
import { type Migration, migrate, readMigrations } from '../../../src/sql/migrate.ts'
import { endWithUs } from './leftovers.ts'
import { until } from './until.ts'

const witness = new URL('witness.sql', import.meta.url)
const slot = 'history'

/** A row of `pg_logical_slot_get_changes`. */
export interface DecodedLine {
  lsn: string
  xid: string
  data: string
}

/** The Postgres of a drill: real, durable, migrated, and with a witness of what is committed. */
export class Postgres {
  readonly #folder: string
  #server: EmbeddedPostgres
  #forget: () => void
  #session: Promise<pg.Client> | undefined
  #last: Promise<unknown> = Promise.resolve()

  private constructor(folder: string, server: EmbeddedPostgres) {
    this.#folder = folder
    this.#server = server
    this.#forget = endWithUs(server.pid)
  }

  static async start(
    folder: string,
    { migrations, seed }: { migrations?: Migration[] | undefined; seed?: string | undefined } = {},
  ): Promise<Postgres> {
    const path = join(folder, 'postgres')
    const postgres = new Postgres(path, await launch(path))
    try {
      await postgres.#fill(migrations, seed)
      return postgres
    } catch (error) {
      await postgres.stop()
      throw error
    }
  }

  async #fill(migrations: Migration[] | undefined, seed: string | undefined): Promise<void> {
    await migrate({ url: this.url, migrations: migrations ?? (await readMigrations()) })
    await this.run(this.url, await readFile(witness, 'utf8'))
    if (seed) await this.run(this.url, seed)
    await this.run(
      this.adminUrl,
      `SELECT pg_create_logical_replication_slot('${slot}', 'test_decoding')`,
    )
  }

  get url(): string {
    return this.#server.url
  }

  get port(): number {
    return this.#server.port
  }

  /** Of the superuser, in the database of the replicas. */
  get adminUrl(): string {
    return Object.assign(new URL(this.#server.adminUrl), { pathname: new URL(this.url).pathname })
      .href
  }

  get pid(): number {
    return this.#server.pid
  }

  /** Ends it by a signal: SIGQUIT is `-m immediate`, SIGKILL what no one survives to tell. */
  async crash(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void> {
    process.kill(this.pid, signal)
    while (isAlive(this.pid)) await sleep(5)
    this.#forget()
  }

  /** On the same data and port. After a SIGKILL its children have to be gone first. */
  async startAgain(): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        this.#server = await launch(this.#folder, this.#server.port)
        this.#forget = endWithUs(this.pid)
        return
      } catch (error) {
        if (tries === 20) throw error
        await sleep(100)
      }
    }
  }

  async stop(): Promise<void> {
    await (await this.#session?.catch(() => undefined))?.end()
    await this.#server.stop()
    this.#forget()
  }

  /** On one session, one after the other; it is opened anew after it ended. */
  query<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    const answer = this.#last.then(() => this.#ask<R>(text, values))
    this.#last = answer.catch(() => undefined)
    return answer
  }

  async #ask<R extends pg.QueryResultRow>(text: string, values: unknown[]): Promise<R[]> {
    this.#session ??= connect(this.url)
    try {
      const { rows } = await (await this.#session).query<R>(text, values)
      return rows
    } catch (error) {
      const session = this.#session
      this.#session = undefined
      void session?.then((client) => client.end()).catch(() => undefined)
      throw error
    }
  }

  async now(): Promise<string> {
    const [row] = await this.tryQuery<{ now: string }>('SELECT clock_timestamp()::text AS now')
    return row?.now ?? ''
  }

  /** The one that leads, or led last. */
  async term(): Promise<number> {
    const [row] = await this.tryQuery<{ term: string }>('SELECT term FROM leader')
    return Number(row?.term)
  }

  /** A query that waits until Postgres is there. */
  tryQuery<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    return until('Postgres does not answer', () => this.query<R>(text, values).catch(unlessAway))
  }

  /** How many rows a query gives. */
  async count(text: string, values: unknown[] = []): Promise<number> {
    return (await this.tryQuery(text, values)).length
  }

  /** Everything that was committed, as its log has it, once. */
  decode(): Promise<DecodedLine[]> {
    return this.run<DecodedLine>(
      this.adminUrl,
      `SELECT lsn::text, xid::text, data FROM pg_logical_slot_get_changes(
        '${slot}', NULL, NULL, 'include-timestamp', 'on', 'include-xids', 'on')`,
    )
  }

  async run<R extends pg.QueryResultRow>(
    connectionString: string,
    text: string,
    values?: unknown[],
  ): Promise<R[]> {
    const client = await connect(connectionString)
    try {
      const { rows } = await client.query<R>(text, values)
      return rows
    } finally {
      await client.end()
    }
  }
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  // What was under way fails by itself.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

function launch(folder: string, port?: number): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({
    folder,
    settings: { wal_level: 'logical', max_connections: '200' },
    ...(port === undefined ? {} : { port }),
  })
}

/** What a server says that is going down or coming up, or nobody. */
function unlessAway(error: unknown): undefined {
  const { code } = error as { code?: string }
  const isAway = code === undefined || /^(E[A-Z]+|08...|57P0[1-3])$/.test(code)
  if (!isAway) throw error
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
