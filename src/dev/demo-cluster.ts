import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from '../sdk/index.ts'
import { migrate } from '../sql/migrate.ts'
import { type ExecutorProcess, type FleetEvent, startExecutorProcess } from './demo-fleet.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts'
import { findFreePort } from './ports.ts'
import {
  type LogLine,
  type ReplicaProcess,
  startReplicaProcess,
  stopProcesses,
} from './replica-process.ts'

/** A line of some replica's log. */
export interface ReplicaLine extends LogLine {
  replica: string
}

const capacity = 8

/** The processes of the demo: Postgres, two replicas, a fleet. */
export class DemoCluster {
  readonly lines: ReplicaLine[] = []
  readonly replicas: ReplicaProcess[] = []
  readonly executors = new Map<string, ExecutorProcess>()
  readonly #folder: string
  readonly #token = randomBytes(24).toString('hex')
  readonly #onFleetEvent: (event: FleetEvent) => void
  #postgres: EmbeddedPostgres | undefined
  #client: Client | undefined
  #starting: Promise<void> | undefined
  #isStopping = false

  constructor(folder: string, onFleetEvent: (event: FleetEvent) => void = () => undefined) {
    this.#folder = folder
    this.#onFleetEvent = onFleetEvent
  }

  get client(): Client {
    if (!this.#client) throw new Error('the cluster was not started')
    return this.#client
  }

  /** How executors reach the replicas. */
  get access(): { urls: string[]; token: string } {
    return { urls: this.replicas.map(({ url }) => url), token: this.#token }
  }

  get databaseUrl(): string {
    if (!this.#postgres) throw new Error('the cluster was not started')
    return this.#postgres.url
  }

  start(executors: number): Promise<void> {
    this.#starting = this.#start(executors)
    return this.#starting
  }

  async #start(executors: number): Promise<void> {
    this.#postgres = await startEmbeddedPostgres({ folder: join(this.#folder, 'postgres') })
    await migrate({ url: this.databaseUrl })
    for (const name of ['a', 'b']) await this.#startReplica(name)
    if (this.#isStopping) return
    // On a slow machine longer than any client would wait.
    await this.findActive()
    this.#client = new Client({ ...this.access, patienceMs: 30_000 })
    const ids = Array.from({ length: executors }, (_, index) => `executor-${index + 1}`)
    for (const id of ids) this.startExecutor(id)
    while ((await this.client.executors.list()).executors.length < executors) await sleep(50)
  }

  /** The replica whose probe answers 200. */
  async findActive(): Promise<ReplicaProcess> {
    while (!this.#isStopping) {
      for (const replica of this.replicas.filter(({ hasExited }) => !hasExited)) {
        const probe = await fetch(`${replica.url}/health/active`).catch(() => undefined)
        if (probe?.ok) return replica
      }
      await sleep(20)
    }
    throw new Error('stopped before a replica was active')
  }

  /** An executor of a new process; one that had this id before is cut off by its epoch. */
  startExecutor(id: string): ExecutorProcess {
    const executor = startExecutorProcess(id, {
      ...this.access,
      capacity,
      logFile: join(this.#folder, 'executors.log'),
      onEvent: this.#onFleetEvent,
    })
    this.executors.set(id, executor)
    return executor
  }

  /** Whatever is just being started is there before it is stopped. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#client?.close()
    await this.#starting?.catch(() => undefined)
    await stopProcesses([...this.executors.values()])
    await stopProcesses(this.replicas)
    await this.#postgres?.stop()
  }

  /** Logs and data; the data may lie elsewhere. */
  async remove(): Promise<void> {
    for (const folder of [this.#folder, this.#postgres?.folder]) {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    }
  }

  async #startReplica(name: string): Promise<void> {
    const replica = startReplicaProcess({
      name,
      port: await findFreePort(),
      databaseUrl: this.databaseUrl,
      adminToken: this.#token,
      logFile: join(this.#folder, `replica-${name}.log`),
    })
    replica.onLog((line) => this.lines.push({ ...line, replica: name }))
    this.replicas.push(replica)
  }
}
