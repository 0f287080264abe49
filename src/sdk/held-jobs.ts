import type { Assignment, ReportItem } from '../contract/executors.ts'
import { Nudge } from '../nudge.ts'
import { HeldJob, type Holder, type JobHandler, type StopReason } from './job-context.ts'

/** What one heartbeat carries at most of progress; a body may have 8 MiB. */
const progressBytes = 4 * 1_024 * 1_024

interface Lease {
  job_id: string
  fence: number
}

/** Everything that an executor holds: a job from its assignment until its report was answered. */
export class HeldJobs {
  readonly #jobs = new Map<string, HeldJob>()
  readonly #onStop: (job: Assignment, reason: StopReason) => void
  #running = 0
  /** Nudged when a handler has ended, and when a job is no longer held. */
  readonly freed = new Nudge()

  constructor(onStop: (job: Assignment, reason: StopReason) => void) {
    this.#onStop = onStop
  }

  get size(): number {
    return this.#jobs.size
  }

  /** How many handlers have not ended. */
  get running(): number {
    return this.#running
  }

  has(lease: Lease): boolean {
    return this.#jobs.has(keyOf(lease))
  }

  /** Runs the job. Returns what is to be reported; undefined: nothing, and it is no longer held. */
  async run(job: Assignment, holder: Holder, handler: JobHandler): Promise<ReportItem | undefined> {
    const held = new HeldJob(job, holder, (reason) => this.stop(job, reason))
    this.#jobs.set(keyOf(job), held)
    this.#running += 1
    const item = await held.run(handler)
    this.#running -= 1
    if (item) this.freed.nudge()
    else this.drop(job)
    return item
  }

  /** All of it, as a heartbeat lists it. */
  list() {
    let room = progressBytes
    return [...this.#jobs.values()].map((held) => {
      const entry = held.list(room)
      room -= entry.bytes
      return entry
    })
  }

  stop(lease: Lease, reason: StopReason): void {
    const held = this.#jobs.get(keyOf(lease))
    if (!held || held.signal.aborted) return
    held.stop(reason)
    this.#onStop(held.job, reason)
  }

  cancel(lease: Lease, reason: string): void {
    this.#jobs.get(keyOf(lease))?.cancel(reason)
  }

  stopAll(reason: StopReason, which: (job: Assignment) => boolean = () => true): void {
    for (const { job } of this.#jobs.values()) if (which(job)) this.stop(job, reason)
  }

  drop(lease: Lease): void {
    this.#jobs.delete(keyOf(lease))
    this.freed.nudge()
  }
}

function keyOf({ job_id, fence }: Lease): string {
  return `${job_id} ${fence}`
}
