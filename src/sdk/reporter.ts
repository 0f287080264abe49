import { fullJitter } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { ReportAnswer, ReportItem, ReportResult } from '../contract/executors.ts'
import { Nudge } from '../nudge.ts'
import { type ApiError, isContentRefused } from './errors.ts'
import type { Transport } from './transport.ts'

export interface ReporterOptions {
  transport: Transport
  path: string
  clock: Clock
  /** A report was answered, for good. */
  onSettled(item: ReportItem, result: ReportResult): void
  onServed(): void
  onTrouble(error: unknown): void
}

const callMs = 2_000
const mostAtOnce = 500
/** Half of what a body may have: more would be refused, whoever was at fault. */
const mostBytesAtOnce = 4 * 1_024 * 1_024
const backoff = { baseMs: 200, factor: 2, capMs: 5_000 }

/** Sends reports until each is answered, however long the control plane is away. */
export class Reporter {
  readonly #o: ReporterOptions
  readonly #added = new Nudge()
  #queue: ReportItem[] = []

  constructor(options: ReporterOptions) {
    this.#o = options
  }

  add(item: ReportItem): void {
    this.#queue.push(item)
    this.#added.nudge()
  }

  close(): Promise<void> {
    return this.#o.transport.close()
  }

  async run(epoch: number, ended: AbortSignal): Promise<void> {
    let failures = 0
    while (!ended.aborted) {
      const added = this.#added.arm()
      const batch = firstOf(this.#queue)
      if (batch.length === 0) {
        await this.#o.clock.sleep(60_000, added, ended)
        continue
      }
      try {
        await this.#send(epoch, batch, ended)
        failures = 0
      } catch (error) {
        if (ended.aborted) return
        this.#o.onTrouble(error)
        await this.#o.clock.sleep(fullJitter(failures++, backoff), ended)
      }
    }
  }

  async #send(epoch: number, batch: ReportItem[], ended: AbortSignal): Promise<void> {
    try {
      const { results } = await this.#o.transport.call<ReportAnswer>({
        method: 'POST',
        path: this.#o.path,
        body: { epoch, reports: batch },
        timeoutMs: callMs,
        patienceMs: 30_000,
        isRepeatable: true,
        signal: ended,
      })
      if (results.length !== batch.length) throw new Error('the answer is not that of the report')
      this.#o.onServed()
      this.#queue = this.#queue.filter((item) => !batch.includes(item))
      for (const [index, item] of batch.entries()) {
        this.#o.onSettled(item, results[index] as ReportResult)
      }
    } catch (error) {
      if (!isContentRefused(error)) throw error
      if (batch.length > 1) await this.#sendEach(epoch, batch, ended)
      else this.#replace(batch[0] as ReportItem, error)
    }
  }

  async #sendEach(epoch: number, batch: ReportItem[], ended: AbortSignal): Promise<void> {
    let refusal: ApiError | undefined
    for (const item of batch) {
      try {
        await this.#send(epoch, [item], ended)
      } catch (error) {
        if (!isContentRefused(error)) throw error
        refusal = error
      }
    }
    if (refusal) throw refusal
  }

  /** A report that is refused for what it says fails its attempt instead; that says nothing odd. The
   *  refusal is thrown on, so that a replacement which is refused as well waits like any other trouble. */
  #replace(item: ReportItem, refusal: ApiError): never {
    const { job_id, fence } = item
    const message = `the report was refused: ${refusal.message}`.slice(0, 1_000).toWellFormed()
    const error = { code: 'report_refused', message, retryable: false }
    this.#queue = this.#queue.map((queued) =>
      queued === item ? { job_id, fence, outcome: 'failed', error } : queued,
    )
    throw refusal
  }
}

/** As many as one call may carry, at least one. */
function firstOf(queue: ReportItem[]): ReportItem[] {
  let bytes = 0
  const batch = queue.slice(0, mostAtOnce)
  const beyond = batch.findIndex((item, index) => {
    bytes += Buffer.byteLength(JSON.stringify(item))
    return index > 0 && bytes > mostBytesAtOnce
  })
  return beyond === -1 ? batch : batch.slice(0, beyond)
}
