import { AppError } from '../../src/errors.ts'
import { readMigrations } from '../../src/sql/migrate.ts'
import { askAny, askLeader } from './ask.ts'
import type { Answer, Call, LeaderCall } from './calls.ts'
import { Replica } from './replica.ts'
import type { System } from './sequence.ts'
import { openSql, type Sql } from './sql.ts'
import { look, passTime, type View, wipe } from './tables.ts'

const minute = 60_000

/** The real thing: two replicas in this process on one database. What a sequence leaves is wiped before the next. */
export class World implements System {
  readonly #replicas: [Replica, Replica]
  readonly #sql: Sql
  readonly #end: () => Promise<void>
  #leader: 0 | 1 = 0

  private constructor(replicas: [Replica, Replica], sql: Sql, end: () => Promise<void>) {
    this.#replicas = replicas
    this.#sql = sql
    this.#end = end
  }

  static async open(url: string): Promise<World> {
    const { sql, end } = await openSql(url)
    const migrations = await readMigrations()
    const replica = (name: string) => new Replica(url, name, sql, migrations)
    return new World([replica('left'), replica('right')], sql, end)
  }

  async close(): Promise<void> {
    for (const replica of this.#replicas) await replica.stop()
    await this.#end()
  }

  async wipe(): Promise<number> {
    return await wipe(this.#sql)
  }

  look(): Promise<View> {
    return look(this.#sql)
  }

  /** For what no call does: to see that it is found. */
  readonly tamper: Sql = (text) => this.#sql(text)

  async call(call: Call): Promise<Answer> {
    try {
      return { ok: await this.#dispatch(call) }
    } catch (error) {
      // What nobody foresaw is no answer that the model has, and is told with the rest.
      return { refused: error instanceof AppError ? error.code : String(error) }
    }
  }

  #dispatch(call: Call): Promise<Record<string, unknown>> {
    if (call.do === 'pass') return this.#pass(call.min, call.isServed)
    if (call.do === 'promote') return this.#promote()
    return 'replica' in call
      ? askAny(this.#replicas[call.replica].wiring, call)
      : this.#askLeader(call)
  }

  async #pass(minutes: number, isServed: boolean) {
    await passTime(this.#sql, minutes)
    for (const { clock } of this.#replicas) clock.stall(minutes * minute)
    if (isServed) await this.#replicas[this.#leader].tick()
    return {}
  }

  async #promote() {
    const next = this.#leader === 0 ? 1 : 0
    await this.#replicas[this.#leader].loseLock()
    // Whether or not all of it goes well, it is not the one before that leads from here on.
    this.#leader = next
    return { term: await this.#replicas[next].lead() }
  }

  /** Of the replica that leads, or of the one that still believes it does. */
  async #askLeader(call: LeaderCall & { term: number }) {
    const replica = this.#replicas.find(({ number }) => number === call.term)
    if (!replica) throw new Error(`no replica remembers term ${call.term}`)
    if (replica !== this.#replicas[this.#leader]) replica.thaw()
    // So that what is sent later is received later.
    replica.clock.stall(1)
    const answer = await askLeader(replica, call)
    await replica.settled()
    return answer
  }
}
