import { setTimeout as sleep } from 'node:timers/promises'
import type {
  Assignment,
  HeartbeatAnswer,
  PollAnswer,
  Registered,
} from '../../../src/contract/executors.ts'
import { type Callee, Caller } from './http.ts'
import { sideBySide } from './together.ts'

interface Executor extends Registered {
  held: Assignment[]
  beats: number
}

export interface ExecutorsOptions extends Callee {
  executors: number
  /** Most jobs that a poll asks for. */
  max: number
  /** Jobs were reported, and the report was answered; `msHeld`: since the answer to the poll. */
  onDone?(assignments: Assignment[], msHeld: number): void
}

/** Executors as users run them: each polls, reports what it was given, and beats when it was told to, until they are
 *  stopped. What fails is counted, and tried again. */
export class Executors {
  readonly #o: ExecutorsOptions
  /** Polls wait, so that each has a connection of its own. */
  readonly #polls: Caller
  readonly #calls: Caller
  #isStopped = false
  #runs: Promise<void>[] = []
  /** Under way. */
  polls = 0
  beats = 0
  failures: string[] = []

  constructor(options: ExecutorsOptions) {
    this.#o = options
    this.#polls = new Caller(options, 'executor', Math.max(1, options.executors))
    this.#calls = new Caller(options, 'executor', 64)
  }

  /** Registers all of them, and has them begin. */
  async start(): Promise<void> {
    let next = 0
    await sideBySide(256, async () => {
      while (next < this.#o.executors) {
        const asked = { executor_id: `running-${next++}`, capacity: this.#o.max }
        const registered = await this.#calls.post<Registered>('/v1/executors/register', asked)
        const executor = { ...registered, held: [], beats: 0 }
        this.#runs.push(this.#keepPolling(executor), this.#keepBeating(executor))
      }
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([this.#polls.close(), this.#calls.close()])
    await Promise.all(this.#runs)
  }

  async #keepPolling(executor: Executor): Promise<void> {
    while (!this.#isStopped) await this.#forgiving(() => this.#pollAndReport(executor))
  }

  async #pollAndReport(executor: Executor): Promise<void> {
    const { executor_id, epoch } = executor
    const path = `/v1/executors/${executor_id}`
    const assignments = await this.#poll(`${path}/poll`, epoch)
    if (assignments.length === 0) return
    const since = performance.now()
    executor.held = assignments
    const reports = assignments.map((held) => ({ ...named(held), outcome: 'succeeded' }))
    try {
      await this.#calls.post(`${path}/report`, { epoch, reports })
    } finally {
      // What could not be reported is given up: its leases run out.
      executor.held = []
    }
    this.#o.onDone?.(assignments, performance.now() - since)
  }

  async #poll(path: string, epoch: number): Promise<Assignment[]> {
    this.polls += 1
    try {
      const asked = { epoch, max: this.#o.max, wait_ms: 25_000 }
      return (await this.#polls.post<PollAnswer>(path, asked)).assignments
    } finally {
      this.polls -= 1
    }
  }

  async #keepBeating(executor: Executor): Promise<void> {
    let restMs = Math.random() * executor.heartbeat_ms
    while (!this.#isStopped) {
      await sleep(restMs, undefined, { ref: false })
      await this.#forgiving(async () => {
        restMs = await this.#beat(executor)
      })
    }
  }

  async #beat(executor: Executor): Promise<number> {
    const { executor_id, epoch } = executor
    const assignments = executor.held.map(named)
    const beat = { epoch, seq: executor.beats++, assignments }
    const path = `/v1/executors/${executor_id}/heartbeat`
    const { heartbeat_ms } = await this.#calls.post<HeartbeatAnswer>(path, beat)
    this.beats += 1
    return heartbeat_ms
  }

  async #forgiving(act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (error) {
      if (this.#isStopped) return
      this.failures.push(String(error))
      await sleep(200)
    }
  }
}

function named({ job_id, fence }: Assignment) {
  return { job_id, fence }
}
