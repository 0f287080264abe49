import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { inheritedEnv } from '../../../src/config.ts'
import { endWithUs } from './leftovers.ts'

/** What a process of executors is told. */
export interface FleetOrders {
  actor: string
  /** The file that it writes its history to. */
  history: string
  /** The file that it acts on. */
  outside: string
  token: string
  capacity: number
  executors: { id: string; urls: string[]; queues: string[] }[]
}

/** What a process that submits is told. */
export interface SubmitterOrders {
  actor: string
  history: string
  token: string
  urls: string[]
  ratePerSecond: number
  queue: string
  /** How long each job takes. */
  workMs: number
}

/** What a process is told that sees releases to their end. */
export interface DeskOrders {
  actor: string
  history: string
  outside: string
  token: string
  urls: string[]
  ratePerSecond: number
  /** How long each step of a release takes. */
  workMs: number
}

/** What each kind of process is told. */
export type Part =
  | { program: 'fleet'; orders: FleetOrders }
  | { program: 'submitter'; orders: SubmitterOrders }
  | { program: 'desk'; orders: DeskOrders }

/** A process that calls the replicas, as any client would. */
export class Actor {
  readonly name: string
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>

  constructor({ program, orders }: Part, logFile: string) {
    this.name = orders.actor
    const path = fileURLToPath(new URL(`${program}-process.ts`, import.meta.url))
    this.#child = spawn(process.execPath, [path], {
      // A group of its own: Ctrl-C reaches it through us, in the right order.
      detached: true,
      stdio: ['pipe', 'ignore', 'pipe'],
      env: inheritedEnv(),
    })
    this.#child.stdin?.end(JSON.stringify(orders))
    this.#child.stderr?.pipe(createWriteStream(logFile, { flags: 'a' }))
    this.#exited = new Promise((resolve) => this.#child.once('close', resolve))
    void this.#exited.then(endWithUs(this.#child.pid ?? 0))
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async end(): Promise<void> {
    this.kill('SIGKILL')
    await this.#exited
  }

  /** Asks it to finish, and waits. Throws if it failed or takes longer than `withinMs`. */
  async finish(withinMs = 60_000): Promise<void> {
    this.kill('SIGTERM')
    const hung = setTimeout(() => this.kill('SIGKILL'), withinMs)
    const code = await this.#exited
    clearTimeout(hung)
    if (code !== 0) throw new Error(`${this.name} ended with ${code ?? 'a signal'}; see its log`)
  }
}
