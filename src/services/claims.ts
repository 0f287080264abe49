import type { Clock } from '../clock.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import {
  type ClaimBounds,
  type ClaimedRow,
  claimJobs,
  findEarliestClaimable,
  type Slot,
} from '../sql/claims.ts'
import type { Doors } from '../sql/doors.ts'
import { mayBeOneRowsFault } from '../sql/failure.ts'
import type { Queryable } from '../sql/pool.ts'

export interface ClaimsOptions {
  doors: Doors
  clock: Clock
  log: Log
}

export interface Claim {
  rows: ClaimedRow[]
  /** Nothing that could be claimed was left. */
  isDrained: boolean
}

/** How long a job is left alone that cannot be claimed. */
const restMs = 60_000
/** Beyond so many it is hardly single rows that are at fault; and each costs transactions that fail. */
const mostBadRows = 20

/** Claims, a transaction each. One row that cannot be written, or not be read, never stops those behind it: what fails
 *  is tried again with half of the slots, down to the one job that comes first, which is then left alone for a while. */
export class Claims {
  readonly #o: ClaimsOptions
  /** When each may be tried again, by job. */
  readonly #resting = new Map<string, number>()

  constructor(options: ClaimsOptions) {
    this.#o = options
  }

  async claim(
    term: Term,
    classIds: number[],
    bounds: ClaimBounds,
    deal: (tx: Queryable) => Promise<Slot[]>,
  ): Promise<Claim> {
    for (let most = Number.POSITIVE_INFINITY; ; ) {
      let asked = 0
      try {
        return await this.#o.doors.asLeader(term, async (tx) => {
          const slots = (await deal(tx)).slice(0, most)
          asked = slots.length
          return await this.#claim(tx, classIds, slots, bounds)
        })
      } catch (error) {
        if (!mayBeOneRowsFault(error) || asked === 0) throw error
        if (asked === 1) await this.#putToRest(term, classIds, error)
        most = Math.ceil(asked / 2)
      }
    }
  }

  async #claim(
    tx: Queryable,
    classIds: number[],
    slots: Slot[],
    bounds: ClaimBounds,
  ): Promise<Claim> {
    if (slots.length === 0) return { rows: [], isDrained: false }
    const rows = await claimJobs(tx, classIds, slots, this.#atRest(), bounds)
    return { rows, isDrained: rows.length < slots.length && !rows[0]?.is_cut }
  }

  #atRest(): string[] {
    const now = this.#o.clock.monotonic()
    for (const [id, until] of this.#resting) if (until <= now) this.#resting.delete(id)
    return [...this.#resting.keys()]
  }

  /** Throws where it is not a row that is at fault, as far as can be told. */
  async #putToRest(term: Term, classIds: number[], error: unknown): Promise<void> {
    const resting = this.#atRest()
    if (resting.length === mostBadRows) throw error
    const id = await this.#o.doors.asLeader(term, (tx) =>
      findEarliestClaimable(tx, classIds, resting),
    )
    if (id === undefined) throw error
    this.#resting.set(id, this.#o.clock.monotonic() + restMs)
    this.#o.log.error(
      { err: error, job_id: id },
      'a job cannot be claimed, and is left alone for a minute',
    )
  }
}
