import type { AppError } from '../errors.ts'

/** The one list of requests that wait for something to happen. A waiter is settled once: with what it
 *  waited for, with undefined when its time is up or its client has hung up, or with an error. */
export interface Waiter<T> {
  readonly answer: Promise<T | undefined>
  readonly isSettled: boolean
  settle(value: T | undefined): void
  fail(error: AppError): void
  /** While something is being fetched for it, time does not run out: until each who held it has let go. */
  hold(): void
  unhold(): void
}

export type WaiterGroup = 'poll' | 'job' | 'lock'

/** A waiter, whatever it waits for. */
interface Listed {
  readonly group: WaiterGroup
  settle(value: undefined): void
  fail(error: AppError): void
}

class ListedWaiter<T> implements Waiter<T>, Listed {
  readonly answer: Promise<T | undefined>
  readonly group: WaiterGroup
  isSettled = false
  #resolve!: (value: T | undefined) => void
  #reject!: (error: AppError) => void
  #leave: () => void
  #timer: NodeJS.Timeout
  #holds = 0
  #isDue = false

  constructor(group: WaiterGroup, waitMs: number, leave: (waiter: ListedWaiter<T>) => void) {
    this.group = group
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#leave = () => leave(this)
    this.#timer = setTimeout(() => this.#expire(), waitMs)
  }

  settle(value: T | undefined): void {
    if (this.#close()) this.#resolve(value)
  }

  fail(error: AppError): void {
    if (this.#close()) this.#reject(error)
  }

  hold(): void {
    this.#holds += 1
  }

  unhold(): void {
    this.#holds -= 1
    if (this.#isDue && this.#holds === 0) this.settle(undefined)
  }

  #expire(): void {
    this.#isDue = true
    if (this.#holds === 0) this.settle(undefined)
  }

  #close(): boolean {
    if (this.isSettled) return false
    this.isSettled = true
    clearTimeout(this.#timer)
    this.#leave()
    return true
  }
}

export class WaitList {
  readonly #waiters = new Set<Listed>()

  get size(): number {
    return this.#waiters.size
  }

  count(group: WaiterGroup): number {
    return this.#waiters.values().reduce((sum, waiter) => sum + (waiter.group === group ? 1 : 0), 0)
  }

  /** `gone` aborts when the client hangs up. `onLeave` runs once, however the wait ends. */
  add<T>(options: {
    group: WaiterGroup
    waitMs: number
    gone: AbortSignal
    onLeave: (waiter: Waiter<T>) => void
  }): Waiter<T> {
    const { group, waitMs, gone, onLeave } = options
    const hangUp = () => waiter.settle(undefined)
    const waiter = new ListedWaiter<T>(group, waitMs, (left) => {
      this.#waiters.delete(left)
      gone.removeEventListener('abort', hangUp)
      onLeave(left)
    })
    this.#waiters.add(waiter)
    gone.addEventListener('abort', hangUp, { once: true })
    if (gone.aborted) hangUp()
    return waiter
  }

  /** Ends waits: with an error, or as if their time were up. */
  end(group: WaiterGroup, error?: AppError): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.group !== group) continue
      if (error) waiter.fail(error)
      else waiter.settle(undefined)
    }
  }
}
