import pg from 'pg'
import type { Log } from '../log.ts'
import * as sql from '../sql/leader.ts'
import { destroySocket } from '../sql/pool.ts'
import { applySettings, connectionOptions, type SessionSettings } from '../sql/session.ts'

export interface LockSessionOptions {
  url: string
  name: string
  lockId: string
  settings: SessionSettings
  log: Log
  onRefusedSettings(names: string[]): void
}

/**
 * The one session that holds, or waits for, the lock of the active replica. Never from the pool. The
 * lock is taken once per session and released only by closing it: a timed-out wait may hold the lock
 * all the same, and a second grant would stack.
 */
export class LockSession {
  readonly #client: pg.Client
  readonly #lockId: string
  readonly #ended = new AbortController()

  private constructor(client: pg.Client, lockId: string) {
    this.#client = client
    this.#lockId = lockId
  }

  static async open(options: LockSessionOptions): Promise<LockSession> {
    const { url, name, lockId, settings, log } = options
    const client = new pg.Client({
      ...connectionOptions(url, `${name} lock`),
      query_timeout: 4_000,
    })
    const session = new LockSession(client, lockId)
    client.on('error', (error) => {
      log.debug({ err: error }, 'the lock session ended')
      session.#ended.abort()
    })
    client.on('end', () => session.#ended.abort())
    try {
      await client.connect()
      options.onRefusedSettings(await applySettings(client, settings))
      return session
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  /** Aborts when the session is gone, and the lock with it. */
  get ended(): AbortSignal {
    return this.#ended.signal
  }

  waitSlice(sliceMs: number): Promise<boolean> {
    return sql.waitForActiveLock(this.#client, this.#lockId, sliceMs)
  }

  promote(replicaId: string): Promise<number> {
    return sql.promote(this.#client, replicaId)
  }

  terminateFenceHolders(): Promise<number[]> {
    return sql.terminateFenceHolders(this.#client)
  }

  tick(term: number, replicaId: string, isServing: boolean): Promise<boolean> {
    return sql.tick(this.#client, term, replicaId, isServing)
  }

  hasOtherWaiter(): Promise<boolean> {
    return sql.hasOtherWaiter(this.#client, this.#lockId)
  }

  recordTermEnd(term: number, replicaId: string, reason: string): Promise<void> {
    return sql.recordTermEnd(this.#client, term, replicaId, reason)
  }

  /** Ends the session politely, so that Postgres frees the lock within milliseconds. */
  async close(): Promise<void> {
    if (this.ended.aborted) return
    const hung = setTimeout(() => this.destroy(), 500)
    try {
      await this.#client.end()
    } finally {
      clearTimeout(hung)
      this.destroy()
    }
  }

  /** Drops the connection now, whatever it is doing. */
  destroy(): void {
    destroySocket(this.#client)
    this.#ended.abort()
  }
}
