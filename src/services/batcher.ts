import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../errors.ts'
import { isItemFault } from '../sql/failure.ts'

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
  flush(items: In[]): Promise<(Out | AppError)[]>
}

interface Waiting<In, Out> {
  item: In
  weight: number
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
    this.#waitingWeight += weight
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, weight, resolve, reject })
      if (!this.#isFlushing) void this.#flushAll()
    })
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

  /** Never rejects: every outcome goes to the callers, and none before its flush has committed (invariant 4). */
  async #flush(batch: Waiting<In, Out>[]): Promise<void> {
    try {
      const answers = await this.#options.flush(batch.map(({ item }) => item))
      for (const [index, { resolve, reject }] of batch.entries()) {
        const answer = answers[index]
        if (answer === undefined) reject(new Error('a flush left an item without an answer'))
        else if (answer instanceof AppError) reject(answer)
        else resolve(answer)
      }
    } catch (error) {
      if (batch.length > 1 && isItemFault(error)) await this.#flushOneByOne(batch)
      else for (const { reject } of batch) reject(error)
    }
  }

  /** A value that the database refuses fails alone, not with its batch. */
  async #flushOneByOne(batch: Waiting<In, Out>[]): Promise<void> {
    for (const waiting of batch) await this.#flush([waiting])
  }
}
