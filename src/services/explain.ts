import type { Explanation } from '../contract/explain.ts'
import { missedBeats } from '../domain/executor-health.ts'
import { explain } from '../domain/explain.ts'
import {
  type Candidate,
  type ExplainedJob,
  type Leader,
  type Lease,
  mostBefore,
  type OwnedMove,
  type Queue,
} from '../domain/explain-facts.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import {
  type CandidateRow,
  countBefore,
  type Deadlines,
  type ExplainedRow,
  type ExplainedTransition,
  findExplained,
  listCandidates,
} from '../sql/explain.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Jobs, Reader } from './jobs.ts'

export interface ExplanationsOptions extends Deadlines {
  clientDb: Queryable
  gate: Gate
  jobs: Jobs
  heartbeatMs: number
}

/** Tells why a job is where it is (invariant 10): from what the database has, on any replica. */
export class Explanations {
  readonly #o: ExplanationsOptions

  constructor(options: ExplanationsOptions) {
    this.#o = options
  }

  /** Throws not_found, also for a job of a queue that the reader may not see. */
  async explain(id: string, reader: Reader): Promise<Explanation> {
    const { clientDb, gate, jobs, heartbeatMs } = this.#o
    const { id: job_id } = await jobs.get(id, reader)
    const row = await findExplained(clientDb, job_id, this.#o)
    if (!row) throw new AppError('not_found', `there is no job ${id}`)
    const reasons = explain({
      job: toJob(row),
      leader: toLeader(row, gate.serving !== undefined),
      lease: toLease(row, missedBeats * heartbeatMs),
      queue: await this.#lookAtQueue(job_id, row),
      // Executors may serve other queues, too: who is bound to some is told how many there are, and no more.
      mayNameExecutors: reader.queues === null,
    })
    return { job_id, state: row.state, reasons }
  }

  /** Nobody looks for executors of a job that is not to be claimed. */
  async #lookAtQueue(id: string, row: ExplainedRow): Promise<Queue | null> {
    if (row.state !== 'available' || row.scheduled) return null
    const { clientDb } = this.#o
    const [candidates, before] = await Promise.all([
      listCandidates(clientDb, row.queue, Object.keys(row.requires)),
      countBefore(clientDb, row, id, mostBefore),
    ])
    return { candidates: candidates.map(toCandidate), before }
  }
}

function toJob(row: ExplainedRow): ExplainedJob {
  return {
    state: row.state,
    queue: row.queue,
    requires: row.requires,
    scheduled: row.scheduled,
    runAt: row.run_at,
    isDue: row.is_due,
    attempt: row.attempt,
    maxAttempts: row.max_attempts,
    lostLeases: row.lost_leases,
    lastOutcome: row.last_outcome,
    error: row.error,
    cancelRequestedAt: row.cancel_requested_at,
    cancelReason: row.cancel_reason,
    stage: row.stage,
    move: row.move,
    waitingFor: row.waiting_for,
    transition: row.transition && toOwnedMove(row.transition),
    heldBy: row.held_by,
    retriedAs: row.retried_as,
    finishedAt: row.finished_at,
  }
}

function toOwnedMove({ owner, boot_id, begun_at, ends_at }: ExplainedTransition): OwnedMove {
  return { owner, bootId: boot_id, begunAt: begun_at, endsAt: ends_at }
}

/** The gate opens a moment before its leader's next tick says so: this replica knows it of itself. */
function toLeader(row: ExplainedRow, isServingHere: boolean): Leader {
  return {
    isActive: row.is_served || isServingHere,
    isLed: row.is_led,
    term: row.term,
    name: row.leader_name,
    servedAt: row.served_at,
  }
}

/** Null unless it is leased. */
function toLease(row: ExplainedRow, suspectMs: number): Lease | null {
  const { executor_id, executor_state, leased_at, lease_expires_at, heartbeat_at } = row
  if (!executor_id || !executor_state || !leased_at || !lease_expires_at || !heartbeat_at)
    return null
  return {
    executorId: executor_id,
    executorState: executor_state,
    fence: row.fence,
    since: leased_at,
    expiresAt: lease_expires_at,
    isOffered: row.offered,
    heartbeatAt: heartbeat_at,
    silentMs: row.silent_ms ?? 0,
    suspectMs,
    reclaimAt: row.reclaim_at,
    cancelToldAt: row.cancel_told_at,
    cancelEndsAt: row.cancel_ends_at,
    criticalUntil: row.critical_until,
    runTimeoutMs: row.run_timeout_ms,
    isPastRunTimeout: row.is_past_run_timeout ?? false,
    runEndsAt: row.run_ends_at,
  }
}

function toCandidate(row: CandidateRow): Candidate {
  const { executor_id, queues, labels, state, capacity, leases, heartbeat_at, ...standing } = row
  return {
    executorId: executor_id,
    queues: new Set(queues),
    labels,
    state,
    standing,
    capacity,
    leases,
    heartbeatAt: heartbeat_at,
  }
}
