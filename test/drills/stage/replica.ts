import { join } from 'node:path'
import { type ReplicaProcess, startReplicaProcess } from '../../../src/dev/replica-process.ts'
import type { Recorder } from '../history/record.ts'
import type { Cable, CableState } from './cable.ts'
import { endWithUs } from './leftovers.ts'

/** A line of a replica's log, and when it came: its own clock may be wrong. */
export interface HeardLine {
  wall: number
  msg: string
  term?: number
  reason?: string
}

export interface ReplicaOptions {
  name: string
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
  readonly #heard = new EventTarget()

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
    this.#process.onLog((line) => this.#hear(line as unknown as LoggedLine))
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

  /** Resolves with the first line of its log, since `since` (wall clock), that begins so. */
  async said(start: string, since = 0): Promise<HeardLine> {
    for (;;) {
      const line = this.lines.find(({ wall, msg }) => wall >= since && msg.startsWith(start))
      if (line) return line
      await new Promise((resolve) => this.#heard.addEventListener('line', resolve, { once: true }))
    }
  }

  /** What is between it and Postgres. */
  damage(state: CableState): void {
    if (!this.#o.cable) throw new Error('this drill laid no cables')
    this.#o.cable.state = state
  }

  #hear(line: LoggedLine): void {
    this.lines.push({ ...line, wall: Date.now() })
    if (line.msg === 'listening') {
      const { name, url } = this
      this.#recorder.write({ type: 'replica', name, url, replicaId: line.replica_id })
    }
    this.#heard.dispatchEvent(new Event('line'))
  }
}

interface LoggedLine {
  msg: string
  replica_id: string
  term?: number
  reason?: string
}
