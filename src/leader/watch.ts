import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { fullJitter } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { Nudge } from '../nudge.ts'
import type { Doors } from '../sql/doors.ts'
import { type Observation, observeLeader } from '../sql/leader.ts'
import { checkSchema, type Migration, type SchemaState } from '../sql/migrate.ts'
import { destroySocket, type Queryable } from '../sql/pool.ts'
import { isShownAlive, type ReplicaIdentity, registerReplica, showAlive } from '../sql/replicas.ts'
import { type Refusal, refusals, takeName, testPath, testStanding } from '../sql/self-test.ts'
import { applySettings, connectionOptions, type SessionSettings } from '../sql/session.ts'

export const channel = 'understudy'

export interface WatchOptions {
  databaseUrl: string
  leaderDatabaseUrl: string
  name: string
  db: Queryable
  /** Known once the server listens. */
  identity(): ReplicaIdentity
  settings: SessionSettings
  migrations: Migration[]
  doors: Doors
  clock: Clock
  log: Log
  /** A hint from another replica. It may be lost, doubled or late. */
  onHint(payload: string): void
  /** The self-test found something that no wait will cure. */
  onUnfit(refusals: Refusal[]): void
  onRefusedSettings(names: string[]): void
  /** Hints may have been missed: every listener looks for itself. */
  onReconnect(): void
}

const lookMs = 1_000
const stillStands = 'an earlier session of this replica still stands on the server'
const backoff = { baseMs: 100, factor: 2, capMs: 1_000 }

/**
 * This replica's eye on the database, on a session of its own: it shows that the replica is alive (a
 * session lock), listens for hints, and looks once a second at the schema and at who leads. What it
 * knows may be a second old; nothing is decided by it that SQL does not decide again.
 */
export class Watch {
  readonly #o: WatchOptions
  #isReachable = false
  #isRegistered = false
  #number = 0
  #schema: SchemaState | undefined
  #leader: Observation | undefined
  #refusals: Refusal[] = []
  readonly #look = new Nudge()

  constructor(options: WatchOptions) {
    this.#o = options
  }

  /** Whether the database answered when it was last asked. */
  get isReachable(): boolean {
    return this.#isReachable
  }

  /** Whether the row of this replica has been written; before that it cannot be promoted. */
  get isRegistered(): boolean {
    return this.#isRegistered
  }

  /** Why this replica takes no part; empty: it does, or has not been able to ask yet. */
  get refusals(): readonly Refusal[] {
    return this.#refusals
  }

  get schema(): SchemaState | undefined {
    return this.#schema
  }

  get leader(): Observation | undefined {
    return this.#leader
  }

  /** Looks again at once. */
  nudge(): void {
    this.#look.nudge()
  }

  /** Watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await this.#watchSession(signal, () => {
          failures = 0
        })
      } catch (error) {
        // What was found on a way that is gone may be cured on the next.
        if (!this.#isRegistered) this.#refusals = []
        // One lost session says little: only a second failure in a row says that the database is gone.
        if (failures > 0) this.#isReachable = false
        if (failures === 1) this.#o.log.warn({ err: error }, 'the database does not answer')
      }
      await this.#o.clock.sleep(fullJitter(failures++, backoff), signal)
    }
  }

  async #watchSession(signal: AbortSignal, onGood: () => void): Promise<void> {
    const { leaderDatabaseUrl, name, settings, clock, log } = this.#o
    if (!this.#isRegistered && !this.#passes(await testPath(this.#o, name, signal))) return
    const client = new pg.Client(connectionOptions(leaderDatabaseUrl, `${name} watch`))
    const ended = new AbortController()
    client.on('error', (error) => {
      log.debug({ err: error }, 'the watch session ended')
      ended.abort()
    })
    client.on('end', () => ended.abort())
    const cut = () => destroySocket(client)
    signal.addEventListener('abort', cut, { once: true })
    try {
      await client.connect()
      this.#o.onRefusedSettings(await applySettings(client, settings))
      let isListening = false
      const over = AbortSignal.any([signal, ended.signal])
      while (!over.aborted) {
        const nudged = this.#look.arm()
        await this.#lookAtSchema(client)
        if (this.#schema === 'fits' && !isListening && (await this.#mayRegister(client))) {
          await this.#listen(client)
          isListening = true
          this.#o.onReconnect()
        }
        if (isListening || this.#schema === 'ahead') this.#leader = await observeLeader(client)
        this.#isReachable = true
        onGood()
        await clock.sleep(lookMs, over, nudged)
      }
    } finally {
      signal.removeEventListener('abort', cut)
      cut()
    }
  }

  async #lookAtSchema(client: pg.Client): Promise<void> {
    const schema = await checkSchema(client, this.#o.migrations)
    if (schema !== this.#schema) this.#o.log.info({ schema }, 'schema checked')
    this.#schema = schema
  }

  /** Once registered, only the name is taken anew, with each session. */
  async #mayRegister(client: pg.Client): Promise<boolean> {
    const { db, identity, name } = this.#o
    if (!this.#isRegistered) return this.#passes(await testStanding(client, db, identity()))
    if (await takeName(client, name)) return this.#passes([])
    if (await isShownAlive(client, this.#number)) throw new Error(stillStands)
    const detail = `another replica took the name ${name} while this one was cut off`
    return this.#passes([{ reason: 'name_taken', detail }])
  }

  /** What the self-test finds is said when it changes; until it finds nothing, this replica takes no part. */
  #passes(found: Refusal[]): boolean {
    const { log, onUnfit } = this.#o
    if (isDeepStrictEqual(found, this.#refusals)) return found.length === 0
    this.#refusals = found
    for (const refusal of found) log.error(refusal, 'self-test: this replica takes no part')
    if (found.length === 0) log.info('self-test: passed')
    const final = found.filter(({ reason }) => refusals[reason].isFinal)
    if (final.length > 0) onUnfit(final)
    return found.length === 0
  }

  async #listen(client: pg.Client): Promise<void> {
    this.#number = await this.#o.doors.asClient((tx) => registerReplica(tx, this.#o.identity()))
    this.#isRegistered = true
    if (!(await showAlive(client, this.#number))) throw new Error(stillStands)
    client.on('notification', ({ payload = '' }) => this.#o.onHint(payload))
    await client.query(`LISTEN ${channel}`)
  }
}
