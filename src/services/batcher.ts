import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../errors.ts'
import { isItemFault } from '../sql/failure.ts'

/** The answer for an item that needs what somebody else holds just now: it is flushed again soon, and keeps no other
 *  waiting. */
export const busy = Symbol('busy')

/** Well below what clients wait for an answer. */
const patienceMs = 1_000
const [firstPauseMs, longestPauseMs] = [5, 80]

/** Of one batch: after so many it is hardly single items that are at fault, and each costs transactions that fail. */
const mostFaults = 20

export interface BatcherOptions<In, Out> {
  /** What an item costs; default 1 each. Callers choose how much they send at once, and a flush must
   *  neither hold up the event loop nor run into the statement timeout. */
  weigh?(item: In): number
  /** Most weight in one flush; an item that is heavier goes alone. */
  maxWeight: number
  /** Most weight that may wait; beyond that callers are told to come back. */
  maxWaiting: number
  /** Least time from the beginning of one flush to that of the next; default 0. What comes meanwhile shares a flush, and
   *  so what each costs however few it carries; who comes after a pause is not kept waiting. */
  spacingMs?: number
  /** One answer per item, in order. An AppError answers its own item alone. */
  flush(items: In[]): Promise<(Out | AppError | typeof busy)[]>
}

interface Waiting<In, Out> {
  item: In
  weight: number
  /** Once it was found busy. */
  busy?: { since: number; pauseMs: number }
  resolve(out: Out): void
  reject(error: unknown): void
}

/** Gathers what arrives while a flush is in flight, and flushes that together: no timer, so nothing is
 *  added to the latency of a lone caller. Callers are answered when their flush has returned. */
export class Batcher<In, Out> {
  readonly #options: BatcherOptions<In, Out>
  #waiting: Waiting<In, Out>[] = []
  #waitingWeight = 0
  #isFlushing = false

  constructor(options: BatcherOptions<In, Out>) {
    this.#options = options
  }

  add(item: In): Promise<Out> {
    const weight = this.#options.weigh?.(item) ?? 1
    if (this.#waitingWeight > 0 && this.#waitingWeight + weight > this.#options.maxWaiting) {
      throw new AppError('overloaded', 'too many requests are waiting; try again')
    }
    return new Promise((resolve, reject) => this.#enter({ item, weight, resolve, reject }))
  }

  #enter(waiting: Waiting<In, Out>): void {
    this.#waitingWeight += waiting.weight
    this.#waiting.push(waiting)
    if (!this.#isFlushing) void this.#flushAll()
  }

  async #flushAll(): Promise<void> {
    this.#isFlushing = true
    // What arrives in the same turn of the event loop joins the first flush.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#take()
      // What a flush has to leave is a batch already.
      const spaced = this.#waiting.length === 0 ? this.#space() : undefined
      await this.#flush(batch)
      await spaced
    }
    this.#isFlushing = false
  }

  #space(): Promise<void> | undefined {
    const { spacingMs } = this.#options
    return spacingMs === undefined ? undefined : sleep(spacingMs)
  }

  /** The longest waiting, as many as one flush may carry. */
  #take(): Waiting<In, Out>[] {
    let weight = 0
    const beyond = this.#waiting.findIndex((waiting, index) => {
      weight += waiting.weight
      return index > 0 && weight > this.#options.maxWeight
    })
    const batch = this.#waiting.splice(0, beyond === -1 ? this.#waiting.length : beyond)
    for (const waiting of batch) this.#waitingWeight -= waiting.weight
    return batch
  }

  /** Never rejects: every outcome goes to the callers, and none before its flush has committed (invariant 4). What the
   *  database refuses together is flushed in halves, down to the item at fault, which fails alone. */
  async #flush(batch: Waiting<In, Out>[], faults = { left: mostFaults }): Promise<void> {
    try {
      const answers = await this.#options.flush(batch.map(({ item }) => item))
      for (const [index, waiting] of batch.entries()) this.#settle(waiting, answers[index])
    } catch (error) {
      const isAlone = batch.length === 1
      if (isAlone) faults.left -= 1
      if (isAlone || faults.left <= 0 || !isItemFault(error)) {
        const why = isAlone || !isItemFault(error) ? error : notTold(error)
        for (const { reject } of batch) reject(why)
        return
      }
      const half = Math.ceil(batch.length / 2)
      await this.#flush(batch.slice(0, half), faults)
      await this.#flush(batch.slice(half), faults)
    }
  }

  #settle(waiting: Waiting<In, Out>, answer: Out | AppError | typeof busy | undefined): void {
    const { resolve, reject } = waiting
    if (answer === undefined) reject(new Error('a flush left an item without an answer'))
    else if (answer === busy) this.#flushAgain(waiting)
    else if (answer instanceof AppError) reject(answer)
    else resolve(answer)
  }

  #flushAgain(waiting: Waiting<In, Out>): void {
    const { since, pauseMs } = waiting.busy ?? { since: performance.now(), pauseMs: firstPauseMs }
    if (performance.now() - since > patienceMs) {
      // With a cause, so that it is told in the log: somebody has forgotten a transaction.
      const cause = new Error(`a row was held for ${patienceMs} ms`)
      const why = 'another transaction holds what this needs'
      waiting.reject(new AppError('database_unavailable', why, { cause }))
      return
    }
    waiting.busy = { since, pauseMs: Math.min(2 * pauseMs, longestPauseMs) }
    setTimeout(() => this.#enter(waiting), pauseMs)
  }
}

/** For those among whom the items at fault were not found. */
function notTold(cause: unknown): AppError {
  return new AppError('database_unavailable', 'the database refuses too much at once', { cause })
}
