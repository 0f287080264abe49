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
import { mayBeOneRowsFault, sqlState } from '../sql/failure.ts'
import type { Queryable } from '../sql/pool.ts'

export interface ClaimsOptions {
  doors: Doors
  clock: Clock
  log: Log
}

export interface Claim {
  rows: ClaimedRow[]
  /** Nothing that could be claimed was left, as far as was looked. */
  isDrained: boolean
}

/** How long a job is left alone that cannot be claimed. */
const restMs = 60_000
/** Beyond so many, in one claim or in all, it is hardly single rows that are at fault; each costs transactions that fail. */
const [mostAtOnce, mostBadRows] = [20, 200]

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
    const suspects: string[] = []
    for (let most = Number.POSITIVE_INFINITY, isLast = false; ; ) {
      const tried: Tried = { asked: 0 }
      try {
        return await this.#o.doors.asLeader(term, async (tx) => {
          const slots = (await deal(tx)).slice(0, most)
          // Locked from here on, so that it is what comes first for the claim, too.
          if (isLast) tried.suspect = await this.#findEarliest(tx, classIds)
          tried.asked = slots.length
          const claim = await this.#claim(tx, classIds, slots, bounds)
          tried.isWritten = true
          return claim
        })
      } catch (error) {
        if (!mayBeOneRowsFault(error) || tried.asked === 0) throw error
        // Without a word from the server it may have been committed.
        if (tried.isWritten && sqlState(error) === undefined) throw error
        if (isLast) this.#putToRest(tried.suspect, suspects, error)
        isLast = tried.asked === 1
        most = Math.ceil(tried.asked / 2)
      }
    }
  }

  #findEarliest(tx: Queryable, classIds: number[]): Promise<string | undefined> {
    return findEarliestClaimable(tx, classIds, this.#atRest())
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

  /** Throws where it is not a row that is at fault, as far as can be told; then those that were taken for it are not. */
  #putToRest(id: string | undefined, suspects: string[], error: unknown): void {
    if (suspects.length === mostAtOnce) for (const each of suspects) this.#resting.delete(each)
    if (id === undefined || suspects.length === mostAtOnce) throw error
    if (this.#atRest().length >= mostBadRows) throw error
    suspects.push(id)
    this.#resting.set(id, this.#o.clock.monotonic() + restMs)
    this.#o.log.error(
      { err: error, job_id: id },
      'a job cannot be claimed, and is left alone for a minute',
    )
  }
}

/** How far a claim has come that failed. */
interface Tried {
  /** Slots; 0: it has asked for nothing yet. */
  asked: number
  /** The job that comes first, where it asked for one. */
  suspect?: string | undefined
  isWritten?: boolean
}
