import type { Lease, Reason, Rule, Snapshot } from './explain-facts.ts'

/** How a lease stands: what keeps it from ending comes before the lease itself. */
export const leaseReasons: readonly Rule[] = [
  cancelDeferred,
  cancelRequested,
  ofLease(executorSilent),
  ofLease(pastRunTimeout),
  ofLease(offerOnItsWay),
  ofLease(running),
]

function ofLease(rule: (lease: Lease, isActive: boolean) => Reason | undefined): Rule {
  return ({ lease, leader }) => (lease ? rule(lease, leader.isActive) : undefined)
}

function cancelDeferred({ job, lease }: Snapshot): Reason | undefined {
  if (!lease || job.cancelRequestedAt === null || lease.criticalUntil === null) return undefined
  return {
    code: 'cancel_deferred',
    detail: `a cancel waits for the end of a critical section, until ${lease.criticalUntil} at the latest`,
    facts: {
      until: lease.criticalUntil,
      requested_at: job.cancelRequestedAt,
      reason: job.cancelReason,
    },
  }
}

function cancelRequested({ job, lease, leader }: Snapshot): Reason | undefined {
  if (!lease || job.cancelRequestedAt === null || lease.criticalUntil !== null) return undefined
  const { cancelToldAt, executorId } = lease
  const endsAt = leader.isActive ? lease.cancelEndsAt : null
  return {
    code: 'cancel_requested',
    detail:
      cancelToldAt === null
        ? `${executorId} is told with its next heartbeat`
        : `${executorId} was told at ${cancelToldAt}; unanswered, it ends ${at(endsAt)}`,
    facts: {
      requested_at: job.cancelRequestedAt,
      reason: job.cancelReason,
      told_at: cancelToldAt,
      ends_at: endsAt,
    },
  }
}

/** Nobody is silent whom nobody could hear (invariant 7). */
function executorSilent(lease: Lease, isActive: boolean): Reason | undefined {
  const { executorId, executorState, heartbeatAt, silentMs, suspectMs, reclaimAt } = lease
  if (!isActive || silentMs <= suspectMs) return undefined
  return {
    code: 'executor_silent',
    detail: `${executorId} was heard last at ${heartbeatAt}; the lease is taken back ${at(reclaimAt)}`,
    facts: {
      executor_id: executorId,
      executor_state: executorState,
      heartbeat_at: heartbeatAt,
      silent_ms: Math.round(silentMs),
      reclaim_at: reclaimAt,
    },
  }
}

function pastRunTimeout(lease: Lease, isActive: boolean): Reason | undefined {
  const { isPastRunTimeout, runTimeoutMs, since, executorId } = lease
  if (!isPastRunTimeout) return undefined
  const endsAt = isActive ? lease.runEndsAt : null
  return {
    code: 'past_run_timeout',
    detail: `${executorId} should have stopped it after ${runTimeoutMs} ms; it is taken back ${at(endsAt)}`,
    facts: { executor_id: executorId, run_timeout_ms: runTimeoutMs, since, ends_at: endsAt },
  }
}

function offerOnItsWay({ isOffered, executorId, fence, since }: Lease): Reason | undefined {
  if (!isOffered) return undefined
  return {
    code: 'offer_on_its_way',
    detail: `it was given to ${executorId} at ${since}, which has not shown yet that it holds it`,
    facts: { executor_id: executorId, fence, since },
  }
}

function running(lease: Lease): Reason {
  const { executorId, executorState, fence, since, expiresAt, heartbeatAt } = lease
  return {
    code: 'running',
    detail: `${executorId} holds it since ${since}, with fence ${fence}; lease until ${expiresAt}`,
    facts: {
      executor_id: executorId,
      executor_state: executorState,
      fence,
      since,
      lease_expires_at: expiresAt,
      heartbeat_at: heartbeatAt,
    },
  }
}

function at(instant: string | null): string {
  return instant === null ? 'once a replica is active' : `at ${instant} at the earliest`
}
