import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import type { Health } from '../../src/contract/cluster.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/dev/embedded-postgres.ts'
import { findFreePort } from '../../src/dev/ports.ts'
import {
  type ReplicaProcess,
  startReplicaProcess,
  stopProcesses,
} from '../../src/dev/replica-process.ts'
import { migrate } from '../../src/sql/migrate.ts'
import { endWithUs } from '../drills/stage/leftovers.ts'
import { answers, until } from '../drills/stage/until.ts'
import { patience } from '../support/patience.ts'
import type { Acts } from './load/serve.ts'
import { LoadProcess } from './load-process.ts'

/** Reaches a control plane. */
export interface Access {
  url: string
  token: string
}

export type Replica = ReplicaProcess & Access

/** What a bench runs on: one Postgres, and replicas and load as processes of their own. */
export class Stage {
  readonly #folder: string
  readonly #token = randomBytes(16).toString('hex')
  readonly #server: EmbeddedPostgres
  readonly #replicas: Replica[] = []
  readonly #loads: { stop(): void }[] = []

  private constructor(folder: string, server: EmbeddedPostgres) {
    this.#folder = folder
    this.#server = server
  }

  /** A new Postgres, durable, and with the settings that it comes with, but for room for the sessions. */
  static async set(folder: string, settings: Record<string, string> = {}): Promise<Stage> {
    await mkdir(folder, { recursive: true })
    const server = await startEmbeddedPostgres({
      folder: join(folder, 'postgres'),
      settings: { max_connections: '200', ...settings },
    })
    endWithUs(server.pid)
    return new Stage(folder, server)
  }

  get postgresPid(): number {
    return this.#server.pid
  }

  /** A new database; its URL is that of its owner, who is no superuser. */
  async createDatabase(name: string): Promise<string> {
    await this.sql('postgres', `CREATE DATABASE ${name} OWNER understudy`)
    return this.#urlOf(name)
  }

  #urlOf(database: string): string {
    return Object.assign(new URL(this.#server.url), { pathname: `/${database}` }).href
  }

  /** As the superuser. */
  async sql<Row extends pg.QueryResultRow>(
    database: string,
    text: string,
    values?: unknown[],
  ): Promise<Row[]> {
    const url = Object.assign(new URL(this.#server.adminUrl), { pathname: `/${database}` }).href
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    try {
      return (await client.query<Row>(text, values)).rows
    } finally {
      await client.end()
    }
  }

  /** Everybody begins a round alike: no dead rows of the round before, and no checkpoint due. */
  async settle(...databases: string[]): Promise<void> {
    for (const database of databases) await this.sql(database, 'VACUUM (ANALYZE)')
    await this.sql('postgres', 'CHECKPOINT')
  }

  /** A migrated database with `replicas`; the first of them leads. */
  async startCluster(
    name = 'ours',
    replicas = 1,
    env: Record<string, string> = {},
  ): Promise<[Replica, ...Replica[]]> {
    const url = await this.createDatabase(name)
    await migrate({ url })
    const started: Replica[] = []
    for (let nth = 1; nth <= replicas; nth += 1) {
      const replica = await this.startReplica(`${name}-${nth}`, name, env)
      // The first leads before the next one stands.
      if (nth === 1) await until(`${replica.name} is not active`, () => isActive(replica))
      else await until(`${replica.name} is not ready`, () => isYes(`${replica.url}/health/ready`))
      started.push(replica)
    }
    return started as [Replica, ...Replica[]]
  }

  /** One more of a database that is migrated. */
  async startReplica(
    name: string,
    database: string,
    env: Record<string, string> = {},
  ): Promise<Replica> {
    const replica = startReplicaProcess({
      name,
      port: await findFreePort(),
      databaseUrl: this.#urlOf(database),
      adminToken: this.#token,
      logFile: join(this.#folder, `replica-${name}.log`),
      env: { ...patience, ...env },
    })
    const known = Object.assign(replica, { token: this.#token })
    void replica.exited.then(endWithUs(replica.pid))
    this.#replicas.push(known)
    return known
  }

  startLoad<A extends Acts>(module: string): LoadProcess<A> {
    const load = new LoadProcess<A>(module)
    this.#loads.push(load)
    return load
  }

  async strike(): Promise<void> {
    for (const load of this.#loads) load.stop()
    await stopProcesses(this.#replicas)
    await this.#server.stop()
  }
}

async function isYes(url: string): Promise<true | undefined> {
  return (await answers(url)) || undefined
}

/** A replica that still recovers answers well, too, but serves no executors. */
async function isActive({ url }: Replica): Promise<true | undefined> {
  try {
    const answer = await fetch(`${url}/health/active`, { signal: AbortSignal.timeout(1_000) })
    return ((await answer.json()) as Health).controller_state === 'active' || undefined
  } catch {
    return undefined
  }
}
