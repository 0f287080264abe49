import { limits } from '../contract/common.ts'
import type { Report, ReportItem, ReportResult } from '../contract/executors.ts'
import { afterEnd, endByReport, type LeaseEnd, type LockedJob } from '../domain/lease.ts'
import { type Claimed, type Ended, judgeReport } from '../domain/report.ts'
import { AppError, tooLarge } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Doors } from '../sql/doors.ts'
import { findHealth, type HealthRow } from '../sql/executor-health.ts'
import { sqlState } from '../sql/failure.ts'
import { endLeasesIfFenced, lockFreeJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import {
  findEndedLeases,
  findStandings,
  type LateReportRow,
  recordLateReports,
} from '../sql/reports.ts'
import { Batcher, busy } from './batcher.ts'
import type { Engagements } from './engagements.ts'
import { countOutcomes } from './executor-changes.ts'
import type { ExecutorDirectory } from './executor-directory.ts'
import { isJobId, toJson } from './json.ts'
import type { LeaseEnds } from './lease-ends.ts'
import type { Polls } from './polls.ts'
import { requireServing } from './serving.ts'

export interface ReportsOptions {
  doors: Doors
  gate: Gate
  leaseEnds: LeaseEnds
  directory: ExecutorDirectory
  polls: Polls
  engagements: Engagements
}

interface Reported {
  executorId: string
  epoch: number
  items: ReportItem[]
  /** What became of each item; of those whose jobs others hold just now, nothing yet. */
  results: (ReportResult | undefined)[]
  /** What it costs to write: its results, and something for each row. */
  bytes: number
}

const rowBytes = 1_000

/** Reports: each item is judged under its job's row lock, and report and move share a transaction. */
export class Reports {
  readonly #o: ReportsOptions
  readonly #reports: Batcher<Reported, ReportResult[]>

  constructor(options: ReportsOptions) {
    this.#o = options
    this.#reports = new Batcher({
      weigh: ({ bytes }) => bytes,
      maxWeight: 4_000_000,
      maxWaiting: 64_000_000,
      flush: (reports) => this.#flush(reports),
    })
  }

  report(executorId: string, body: Report): Promise<ReportResult[]> {
    requireServing(this.#o.gate)
    let bytes = 0
    for (const [index, { result, error }] of body.reports.entries()) {
      const resultBytes = Buffer.byteLength(toJson(result))
      if (resultBytes > limits.resultBytes) {
        throw tooLarge(`reports.${index}.result`, limits.resultBytes)
      }
      bytes += rowBytes + resultBytes + (error?.message.length ?? 0)
    }
    const { epoch, reports: items } = body
    return this.#reports.add({ executorId, epoch, items, results: [], bytes })
  }

  async #flush(reports: Reported[]): Promise<(ReportResult[] | typeof busy)[]> {
    const mayDegrade = reports
      .filter(({ items }) => items.some(({ outcome }) => outcome === 'failed'))
      .map(({ executorId }) => executorId)
    const { engagements, leaseEnds, polls } = this.#o
    try {
      // After the claim that goes by how they stand; the next one knows what came of this.
      return await engagements.during([...new Set(mayDegrade)], async () => {
        const { answers, ends } = await this.#settle(reports, mayDegrade)
        leaseEnds.announce(ends)
        return reports.map((report, nth) => keep(report, answers[nth] ?? []))
      })
    } finally {
      // Polls that were kept from claims meanwhile.
      if (mayDegrade.length > 0) polls.markReady([])
    }
  }

  /** An unknown outcome may have degraded them all the same: then memory must not know better. */
  async #settle(reports: Reported[], mayDegrade: string[]) {
    const { doors, gate, directory, polls } = this.#o
    const term = requireServing(gate)
    try {
      const settled = await doors.asLeader(term, (tx) => settle(tx, reports))
      directory.learn(settled.standings)
      return settled
    } catch (error) {
      // What Postgres refused was certainly not done.
      for (const id of sqlState(error) === undefined ? mayDegrade : []) {
        polls.forget(id, new AppError('database_unavailable', `${id} may have been degraded`))
      }
      throw error
    }
  }
}

/** Judges every item in order, then writes all that was accepted and all that came too late. */
async function settle(tx: Queryable, reports: Reported[]) {
  const judge = await Judge.open(tx, reports)
  const answers = reports.map((report) =>
    report.items.map((item, nth) => report.results[nth] ?? judge.judge(report, item)),
  )
  if (judge.ends.length > 0) await endLeasesIfFenced(tx, judge.ends)
  if (judge.late.length > 0) await recordLateReports(tx, judge.late)
  const standings = await countOutcomes(tx, judge.ends, judge.executors)
  return { answers, ends: judge.ends, standings: [...judge.executors, ...standings] }
}

/** What was committed of a report; all of it, or that it has to be flushed again for the rest. */
function keep(
  report: Reported,
  results: (ReportResult | undefined)[],
): ReportResult[] | typeof busy {
  report.results = results
  const known = results.filter((result) => result !== undefined)
  return known.length === report.items.length ? known : busy
}

/** What the items of one batch are judged by: rows that it has locked, and that follow each verdict, so
 *  that two items for one job are decided in order. */
class Judge {
  readonly ends: LeaseEnd[] = []
  readonly late: LateReportRow[] = []
  /** As they were when the jobs were locked. */
  readonly executors: HealthRow[]
  readonly #jobs: Map<string, LockedJob>
  readonly #epochs: Map<string, number>
  readonly #ended: Map<string, Ended>
  /** Jobs that another transaction has locked. */
  readonly #busy: Set<string>

  private constructor(
    jobs: LockedJob[],
    executors: HealthRow[],
    ended: Map<string, Ended>,
    busyIds: string[],
  ) {
    this.executors = executors
    this.#busy = new Set(busyIds)
    this.#jobs = new Map(jobs.map((job) => [job.id, job]))
    this.#epochs = new Map(executors.map(({ executor_id, epoch }) => [executor_id, epoch]))
    this.#ended = ended
  }

  static async open(tx: Queryable, reports: Reported[]): Promise<Judge> {
    const items = reports.flatMap(({ items, results }) => items.filter((_, nth) => !results[nth]))
    const jobIds = new Set(items.map(({ job_id }) => job_id.toLowerCase()).filter(isJobId))
    const jobs = await lockFreeJobs(tx, [...jobIds])
    const fences = new Map(jobs.map((job) => [job.id, job]))
    const missing = [...jobIds].filter((id) => !fences.has(id))
    const held = missing.length > 0 ? await findStandings(tx, missing) : []
    const past = items
      .map(({ job_id, fence }) => ({ job_id: job_id.toLowerCase(), fence }))
      .filter(({ job_id, fence }) => {
        const job = fences.get(job_id)
        return job !== undefined && !(job.state === 'leased' && job.fence === fence)
      })
    const ended = past.length > 0 ? await findEndedLeases(tx, past) : []
    const ids = [...new Set(reports.map(({ executorId }) => executorId))]
    return new Judge(
      jobs,
      await findHealth(tx, ids),
      new Map(ended.map((row) => [leaseKey(row.job_id, row.fence), row])),
      held.map(({ id }) => id),
    )
  }

  /** Undefined: not now. */
  judge({ executorId, epoch }: Reported, item: ReportItem): ReportResult | undefined {
    const id = item.job_id.toLowerCase()
    if (this.#busy.has(id)) return undefined
    const job = this.#jobs.get(id)
    const claimed = { executorId, epoch, fence: item.fence, outcome: item.outcome }
    const verdict = judgeReport(
      job,
      claimed,
      this.#epochs.get(executorId),
      this.#ended.get(leaseKey(id, item.fence)),
    )
    if (job && verdict.status === 'accepted') this.#accept(job, executorId, epoch, item)
    if (job && verdict.status === 'rejected' && this.#hasHeld(job, claimed)) {
      this.#keep(id, executorId, epoch, item, verdict.reason)
    }
    return { job_id: item.job_id, ...verdict, job_state: this.#jobs.get(id)?.state ?? null }
  }

  #accept(job: LockedJob, executorId: string, epoch: number, item: ReportItem): void {
    const end = endByReport(job, item)
    this.ends.push(end)
    this.#jobs.set(job.id, afterEnd(end))
    this.#ended.set(leaseKey(job.id, job.fence), {
      executor_id: executorId,
      epoch,
      outcome: item.outcome,
    })
  }

  /** Any executor may name any job: only one that once held it has something to tell. */
  #hasHeld(job: LockedJob, { executorId, epoch, fence }: Claimed): boolean {
    const ended = this.#ended.get(leaseKey(job.id, fence))
    const lease = ended ?? (job.fence === fence ? job : undefined)
    return lease?.executor_id === executorId && lease.epoch === epoch
  }

  /** Evidence of what came too late (invariant 3). */
  #keep(jobId: string, executorId: string, epoch: number, item: ReportItem, reason: string): void {
    this.late.push({
      job_id: jobId,
      executor_id: executorId,
      epoch,
      fence: item.fence,
      outcome: item.outcome,
      reason,
      result: item.result === undefined ? null : toJson(item.result),
      error: item.error === undefined ? null : toJson(item.error),
    })
  }
}

function leaseKey(jobId: string, fence: number): string {
  return `${jobId} ${fence}`
}
