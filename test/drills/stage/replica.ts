import { join } from 'node:path'
import {
  type ReplicaProcess,
  startReplicaProcess,
  stopProcesses,
} from '../../../src/dev/replica-process.ts'
import { monotonic, type Recorder } from '../history/record.ts'
import type { Cable, CableState } from './cable.ts'
import { endWithUs } from './leftovers.ts'
import { until } from './until.ts'

/** A line of a replica's log, and when it came: its own clock may be wrong. */
export interface HeardLine {
  wall: number
  msg: string
  term?: number
  reason?: string
}

export interface ReplicaOptions {
  name: string
  /** What the balancer calls it. */
  server?: string
  port: number
  databaseUrl: string
  token: string
  folder: string
  /** The way to Postgres, if it is one that can be damaged. */
  cable?: Cable
  env: Record<string, string>
  /** The CLI of another build. */
  program?: string
}

/** One replica of a drill: a place in which one process runs after the other. */
export class Replica {
  readonly lines: HeardLine[] = []
  readonly #o: ReplicaOptions
  readonly #recorder: Recorder
  #process: ReplicaProcess | undefined

  constructor(options: ReplicaOptions, recorder: Recorder) {
    this.#o = options
    this.#recorder = recorder
  }

  get name(): string {
    return this.#o.name
  }

  get url(): string {
    return `http://127.0.0.1:${this.#o.port}`
  }

  get isRunning(): boolean {
    return this.#process !== undefined && !this.#process.hasExited
  }

  start(program = this.#o.program): void {
    if (this.isRunning) throw new Error(`${this.name} runs already`)
    const { name, port, databaseUrl, token, folder, env } = this.#o
    const startedAt = monotonic()
    const logFile = join(folder, `replica-${name}.log`)
    this.#process = startReplicaProcess({
      name,
      port,
      databaseUrl,
      adminToken: token,
      logFile,
      env,
      ...(program === undefined ? {} : { program }),
    })
    void this.#process.exited.then(endWithUs(this.#process.pid))
    this.#process.onLog((line) => this.#hear(line as unknown as LoggedLine, startedAt))
  }

  /** A replica that is stopped or frozen does not answer. */
  kill(signal: NodeJS.Signals): void {
    if (!this.isRunning) throw new Error(`${this.name} does not run`)
    this.#process?.kill(signal)
  }

  async exited(): Promise<number | null> {
    await this.#process?.exited
    return this.#process?.exitCode ?? null
  }

  /** Stops it, frozen or not, and in the end without asking. */
  async stop(): Promise<void> {
    if (!this.#process || !this.isRunning) return
    this.kill('SIGCONT')
    await stopProcesses([this.#process])
  }

  /** Resolves with the first line of its log, since `since` (wall clock), that begins so. */
  said(start: string, since = 0): Promise<HeardLine> {
    return until(`${this.name} did not say "${start}"`, async () =>
      this.lines.find(({ wall, msg }) => wall >= since && msg.startsWith(start)),
    )
  }

  /** What is between it and Postgres. */
  damage(state: CableState): void {
    if (!this.#o.cable) throw new Error('this drill laid no cables')
    this.#o.cable.state = state
  }

  #hear(line: LoggedLine, startedAt: number): void {
    this.lines.push({ ...line, wall: Date.now() })
    if (line.msg !== 'listening') return
    const { name, url } = this
    const { server } = this.#o
    const replicaId = line.replica_id
    // It may have answered before it is heard here, and not before it was started.
    this.#recorder.write({
      ...{ type: 'replica', at: startedAt, name, url, replicaId },
      ...(server !== undefined && { server }),
    })
  }
}

interface LoggedLine {
  msg: string
  replica_id: string
  term?: number
  reason?: string
}

/** As it says itself; undefined: it does not answer. */
export async function stateOf({ url }: Replica): Promise<string | undefined> {
  const answer = await fetch(`${url}/health/live`).catch(() => undefined)
  const health = (await answer?.json()) as { controller_state: string } | undefined
  return health?.controller_state
}
