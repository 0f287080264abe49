import type { Clock } from '../clock.ts'
import type { OfferRow } from '../sql/claims.ts'
import type { HeldLease } from '../sql/leases.ts'
import type { ExecutorDirectory } from './executor-directory.ts'

interface Offer {
  jobId: string
  fence: number
  sentAt: number
  missedAt: number | undefined
}

/** Assignments on their way: claimed for an executor that has not yet shown that it holds them. Lost
 *  ones are found by inventory, not by timers: two heartbeats, far enough apart and both received
 *  after the offer was sent, that do not list it. In memory, of one term; a successor starts over. */
export class Offers {
  readonly #clock: Clock
  readonly #apartMs: number
  #byExecutor = new Map<string, Map<string, Offer>>()

  constructor(clock: Clock, apartMs: number) {
    this.#clock = clock
    this.#apartMs = apartMs
  }

  clear(): void {
    this.#byExecutor = new Map()
  }

  /** Takes up what the database knows of offers, and of the polls that they answered, and this process
   *  does not: those of an earlier term, or of a claim whose outcome was unknown. */
  load(leases: OfferRow[], directory: ExecutorDirectory): void {
    for (const { executor_id, epoch, job_id, fence, poll_id, offered } of leases) {
      const entry = directory.find(executor_id)
      if (entry?.epoch !== epoch) continue
      entry.lastPollId = poll_id
      const isKnown = this.#byExecutor.get(executor_id)?.get(job_id)?.fence === fence
      if (offered && !isKnown) this.add(executor_id, job_id, fence)
    }
  }

  /** An answer with this job was sent to its executor, just now or by an earlier term. */
  add(executorId: string, jobId: string, fence: number): void {
    const offers = this.#byExecutor.get(executorId) ?? new Map<string, Offer>()
    offers.set(jobId, { jobId, fence, sentAt: this.#clock.monotonic(), missedAt: undefined })
    this.#byExecutor.set(executorId, offers)
  }

  /** The executor has the job, or the lease has ended. */
  settle(executorId: string, jobId: string, fence: number): void {
    const offers = this.#byExecutor.get(executorId)
    if (offers?.get(jobId)?.fence !== fence) return
    offers.delete(jobId)
    if (offers.size === 0) this.#byExecutor.delete(executorId)
  }

  /** A heartbeat lists these. */
  show(executorId: string, listed: HeldLease[]): void {
    for (const { job_id, fence } of listed) this.settle(executorId, job_id, fence)
  }

  /** A heartbeat does not list what is left. Returns the offers that are lost by now. */
  miss(executorId: string, receivedAt: number): { job_id: string; fence: number }[] {
    const lost: { job_id: string; fence: number }[] = []
    for (const offer of this.#byExecutor.get(executorId)?.values() ?? []) {
      if (receivedAt <= offer.sentAt) continue
      if (offer.missedAt === undefined) offer.missedAt = receivedAt
      else if (receivedAt - offer.missedAt >= this.#apartMs) {
        lost.push({ job_id: offer.jobId, fence: offer.fence })
      }
    }
    return lost
  }
}
