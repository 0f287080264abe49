import { bulkhead, isBulkheadRejectedError } from 'cockatiel'
import { AppError } from '../errors.ts'
import type { Doors, FencedTerm } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'

/** How many may wait for their turn. */
const mostWaiting = 1_000

/** What executors ask for that has a transaction of its own; polls, heartbeats and reports are gathered. However many
 *  such acts come, and however long each waits for a row lock, they leave sessions to those (invariant 7). */
export class ExecutorActs {
  readonly #doors: Doors
  readonly #turns: ReturnType<typeof bulkhead>

  /** `sessions`: how many the leader's pool has. */
  constructor(doors: Doors, sessions: number) {
    this.#doors = doors
    this.#turns = bulkhead(Math.max(1, Math.floor(sessions / 2)), mostWaiting)
  }

  /** As `asLeader`. Throws overloaded too. */
  async run<T>(term: FencedTerm, fn: (tx: Queryable) => Promise<T>): Promise<T> {
    try {
      return await this.#turns.execute(() => this.#doors.asLeader(term, fn))
    } catch (error) {
      if (!isBulkheadRejectedError(error)) throw error
      throw new AppError('overloaded', 'too many executors wait for their turn', { cause: error })
    }
  }
}
