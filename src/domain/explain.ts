import { executorReasons } from './explain-executors.ts'
import type { ExplainedJob, Reason, Rule, Snapshot } from './explain-facts.ts'
import { leaseReasons } from './explain-lease.ts'
import type { JobState } from './job.ts'

/**
 * Why a job is where it is (invariant 10). Pure: one snapshot of facts goes in, and reasons come out. Each rule says
 * one thing, or nothing where it does not hold; the rules of a state stand in the order in which they tell most.
 */
const rules: Record<JobState | 'scheduled', readonly Rule[]> = {
  available: [noActiveReplica, cancelUnfinished, ...executorReasons],
  scheduled: [dueButNobodyLeads, cancelUnfinished, scheduled, backingOff, noActiveReplicaUnlessDue],
  waiting: [
    cancelUnfinished,
    cancelDeferredByOwner,
    transitionOwned,
    decisionMissing,
    effectInDoubt,
  ],
  leased: [...leaseReasons, noActiveReplica],
  succeeded: [succeeded],
  failed: [failed],
  cancelled: [cancelled],
}

/** At least one reason, the most telling first. */
export function explain(snapshot: Snapshot): Reason[] {
  const { state, scheduled } = snapshot.job
  const reasons = rules[scheduled ? 'scheduled' : state]
    .map((rule) => rule(snapshot))
    .filter((reason) => reason !== undefined)
  return reasons.length > 0 ? reasons : [unexplained(snapshot)]
}

function noActiveReplica({ leader }: Snapshot): Reason | undefined {
  if (leader.isActive) return undefined
  const { term, name, isLed, servedAt } = leader
  const who = isLed
    ? `${name} leads term ${term}, and does not serve executors yet`
    : `nobody leads; the last term was ${term}`
  return {
    code: 'no_active_replica',
    detail: `no replica is active: ${who}`,
    facts: { term, leader: isLed ? name : null, last_served_at: servedAt },
  }
}

function dueButNobodyLeads(snapshot: Snapshot): Reason | undefined {
  return snapshot.job.isDue ? noActiveReplica(snapshot) : undefined
}

function noActiveReplicaUnlessDue(snapshot: Snapshot): Reason | undefined {
  return snapshot.job.isDue ? undefined : noActiveReplica(snapshot)
}

/** Left by a build that knew no cancels: no claim takes the job, and the next recovery cancels it. */
function cancelUnfinished({ job }: Snapshot): Reason | undefined {
  if (job.cancelRequestedAt === null || job.transition) return undefined
  return {
    code: 'cancel_requested',
    detail: 'its end was asked for: nobody is given it, and the next replica that leads cancels it',
    facts: {
      requested_at: job.cancelRequestedAt,
      reason: job.cancelReason,
      told_at: null,
      ends_at: null,
    },
  }
}

function hasFailedLast({ lastOutcome }: ExplainedJob): boolean {
  return lastOutcome === 'failed'
}

function scheduled({ job }: Snapshot): Reason | undefined {
  if (hasFailedLast(job)) return undefined
  const detail = job.isDue
    ? `it was due at ${job.runAt}, and is let in any moment`
    : `it is not to run before ${job.runAt}`
  return { code: 'scheduled', detail, facts: { until: job.runAt, is_due: job.isDue } }
}

function backingOff({ job }: Snapshot): Reason | undefined {
  if (!hasFailedLast(job)) return undefined
  const { attempt, maxAttempts, runAt, error, isDue } = job
  const last = `attempt ${attempt} of ${maxAttempts} failed with ${error?.code ?? 'no error'}`
  return {
    code: 'backing_off',
    detail: isDue
      ? `${last}; it was due again at ${runAt}, and is let in any moment`
      : `${last}; the next is not before ${runAt}`,
    facts: { until: runAt, is_due: isDue, attempt, max_attempts: maxAttempts, error },
  }
}

function cancelDeferredByOwner({ job }: Snapshot): Reason | undefined {
  const { cancelRequestedAt, cancelReason, transition } = job
  if (cancelRequestedAt === null || !transition) return undefined
  const { owner, endsAt } = transition
  return {
    code: 'cancel_deferred',
    detail: `a cancel waits for ${owner}, who owns the next move; ${howItEnds(endsAt)}`,
    facts: { until: endsAt, requested_at: cancelRequestedAt, reason: cancelReason },
  }
}

function transitionOwned({ job }: Snapshot): Reason | undefined {
  const { stage, move, transition } = job
  if (!transition) return undefined
  const { owner, bootId, begunAt, endsAt } = transition
  return {
    code: 'transition_owned',
    detail: `${owner} owns the next move, from stage ${stage}; ${howItEnds(endsAt)}`,
    facts: { stage, move, owner, boot_id: bootId, begun_at: begunAt, ends_at: endsAt },
  }
}

function howItEnds(endsAt: string | null): string {
  return endsAt === null
    ? 'no replica leads that could end it'
    : `from ${endsAt} on others may end it`
}

function decisionMissing({ job }: Snapshot): Reason | undefined {
  const { stage, move, waitingFor } = job
  if (waitingFor !== 'decision') return undefined
  return {
    code: 'waiting_for_decision',
    detail: `it waits for a decision at stage ${stage}`,
    facts: { stage, move },
  }
}

function effectInDoubt({ job }: Snapshot): Reason | undefined {
  const { heldBy: keys } = job
  if (keys.length === 0) return undefined
  const which = keys.length === 1 ? `effect ${keys[0]}` : `${keys.length} effects`
  return {
    code: 'effect_in_doubt',
    detail: `${which} may have been done: an operator must look, and resolve it`,
    facts: { keys },
  }
}

function succeeded({ job }: Snapshot): Reason {
  const { finishedAt, attempt, cancelRequestedAt } = job
  return {
    code: 'succeeded',
    detail: cancelRequestedAt === null ? 'it is done' : 'it was done before a cancel arrived',
    facts: { finished_at: finishedAt, attempt, cancel_requested_at: cancelRequestedAt },
  }
}

function failed({ job }: Snapshot): Reason {
  const { finishedAt, attempt, maxAttempts, lostLeases, retriedAs, error, stage } = job
  const next = retriedAs === null ? '' : `; it is retried as ${retriedAs}`
  const spent = `after ${attempt} of ${maxAttempts} attempts and ${lostLeases} lost leases`
  const where = stage === null ? '' : ` at stage ${stage}`
  const how =
    error?.code === 'rejected'
      ? `rejected${where}`
      : `${error?.code ?? 'no error was told'}${where}, ${spent}`
  return {
    code: 'failed',
    detail: `${how}${next}`,
    facts: {
      finished_at: finishedAt,
      error,
      attempt,
      max_attempts: maxAttempts,
      lost_leases: lostLeases,
      retried_as: retriedAs,
    },
  }
}

function cancelled({ job }: Snapshot): Reason {
  const { finishedAt, cancelRequestedAt, cancelReason, retriedAs, error } = job
  const next = retriedAs === null ? '' : `; it is retried as ${retriedAs}`
  return {
    code: 'cancelled',
    detail: `${cancelReason === null ? 'no reason was given' : `reason: ${cancelReason}`}${next}`,
    facts: {
      finished_at: finishedAt,
      requested_at: cancelRequestedAt,
      reason: cancelReason,
      error,
      retried_as: retriedAs,
    },
  }
}

function unexplained({ job }: Snapshot): Reason {
  return {
    code: 'unexplained',
    detail: `nothing that is known holds up a job that is ${job.state}`,
    facts: { state: job.state },
  }
}
