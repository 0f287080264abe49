import { endByReport, type LockedJob } from '../../src/domain/lease.ts'
import * as cancels from '../../src/sql/cancels.ts'
import * as claims from '../../src/sql/claims.ts'
import { listClasses } from '../../src/sql/classes.ts'
import * as effects from '../../src/sql/effects.ts'
import { recordExecutorEvents } from '../../src/sql/executor-events.ts'
import * as health from '../../src/sql/executor-health.ts'
import * as executors from '../../src/sql/executors.ts'
import { countBefore, findExplained, listCandidates } from '../../src/sql/explain.ts'
import * as jobs from '../../src/sql/jobs.ts'
import { observeLeader } from '../../src/sql/leader.ts'
import * as leases from '../../src/sql/leases.ts'
import * as locks from '../../src/sql/locks.ts'
import * as moves from '../../src/sql/moves.ts'
import type { Queryable } from '../../src/sql/pool.ts'
import { recordProgressIfHeld } from '../../src/sql/progress.ts'
import * as reports from '../../src/sql/reports.ts'
import * as retries from '../../src/sql/retries.ts'
import * as overruns from '../../src/sql/run-timeouts.ts'
import * as stages from '../../src/sql/stages.ts'
import * as submits from '../../src/sql/submits.ts'
import * as tokens from '../../src/sql/tokens.ts'
import * as transitions from '../../src/sql/transitions.ts'
import { findViolations } from '../../src/sql/violations.ts'

/** Every statement that is asked again and again, or whose cost must not follow the table, and what it may read
 *  beside what it finds by key. */
export interface HotStatement {
  ask(db: Queryable): Promise<unknown>
  /** Goes along this until its LIMIT is reached. */
  walks?: string[]
  /** Reads all of this. */
  reads?: string[]
}

const id = '01980000-0000-7000-8000-000000000001'
const ids = [id]
const who = ['executor 1']
const lease = { job_id: id, fence: 1, executor_id: 'executor 1', epoch: 1 }
const begun = { ...lease, begin_id: 'begin' }
const judge = { term: 1, leaseTtlMs: 1 }
const patience = { suspectMs: 1, lostMs: 2 }
const place = leases.beforeAllLeases
const process = { owner: 'owner', boot_id: 'boot' }
const at = { id, stage: 'a', move: 0 }
const settled = { state: 'committed', result: null } as const
const retry = [{ id, retry_of: id, idempotency_key: null, body_hash: null }]
const claim = { ...process, job_id: id, stage: 'a', move: 0, token_id: 'token' }
const locked = {
  ...lease,
  id,
  state: 'leased',
  stage: null,
  next_stage: null,
} as unknown as LockedJob
const end = endByReport(locked, { outcome: 'succeeded' })
const wanted = {
  ...process,
  name: 'lock',
  token_id: 't',
  is_admin: false,
  job_id: id,
  metadata: '{}',
  ttl_ms: 1,
  valid_ms: 1,
}
const filter = { queue: 'queue 1', readable: null, labels: {}, beforeId: id, limit: 50 }
const move = {
  by: 'transition',
  token_id: 't',
  reason: null,
  idempotency_key: null,
  body_hash: null,
} as const

/** What outside actors own just now: so little that the planner takes either index of it, all of it or not. */
const liveTransitions = [
  'transitions_expiring',
  'transitions_expiring from a place',
  'transitions_live',
]

/** These call functions and touch no table by themselves. */
export const tableless = [
  'is_job_over',
  'keep_locks_from_pruning',
  'prune_locks_alone',
  'send_hints',
  'tick',
  'wait_for_active_lock',
]

/** By the names under which the server knows them. */
export const hotStatements: Record<string, HotStatement> = {
  insert_jobs: { ask: (db) => submits.insertJobsUnlessKeyed(db, []) },
  find_jobs_by_key: { ask: (db) => submits.findJobsByKey(db, []) },
  insert_stages: { ask: (db) => stages.insertStages(db, []) },
  find_jobs: { ask: (db) => jobs.findJobs(db, ids, 1) },
  find_settled_jobs: { ask: (db) => jobs.findSettledJobs(db, ids) },
  find_explained: {
    ask: (db) => findExplained(db, id, { leaseTtlMs: 1, cancelGraceMs: 1, runTimeoutGraceMs: 1 }),
  },
  // For people.
  list_candidates: { ask: (db) => listCandidates(db, 'queue 1', []), reads: ['executors'] },
  count_before: {
    ask: (db) => countBefore(db, { class_id: 1, claim_at: 'now' }, id, 100),
    walks: ['jobs_claimable within class_id from a place'],
  },
  list_jobs: { ask: (db) => jobs.listJobs(db, filter), walks: ['jobs_pkey from a place'] },

  claim_jobs: {
    ask: (db) => claims.claimJobs(db, [1], [], [], { leaseTtlMs: 1, maxBytes: 1 }),
    walks: ['jobs_claimable within class_id', 'jobs_claimable within class_id from a place'],
  },
  find_earliest_claimable: {
    ask: (db) => claims.findEarliestClaimable(db, [1], ids),
    walks: ['jobs_claimable within class_id'],
  },
  find_held_under_poll: { ask: (db) => claims.findHeldUnderPoll(db, 'executor 1', 1, 'poll') },
  // Once a promotion.
  list_polled_leases: { ask: (db) => claims.listPolledLeases(db), reads: ['jobs_leased'] },
  probe_claimable: {
    ask: (db) => claims.probeClaimable(db, [1]),
    walks: ['jobs_claimable within class_id'],
  },
  probe_due_jobs: { ask: (db) => claims.probeDueJobs(db), walks: ['jobs_due'] },
  list_due_jobs: {
    ask: (db) => claims.listDueJobs(db, claims.beforeAllDue, 500),
    walks: ['jobs_due from a place'],
  },
  wake_due_jobs: { ask: (db) => claims.wakeDueJobs(db, ids) },

  lock_free_jobs: { ask: (db) => leases.lockFreeJobs(db, ids) },
  lock_jobs: { ask: (db) => leases.lockJobs(db, ids) },
  lock_leases_of_executors: { ask: (db) => leases.lockLeasesOfExecutors(db, who, 500) },
  list_reclaimable_leases: {
    ask: (db) => leases.listReclaimableLeases(db, 1, place, 500),
    walks: ['jobs_leased from a place'],
  },
  lock_reclaimable_leases: { ask: (db) => leases.lockReclaimableLeases(db, 1, ids) },
  list_leases_expired_while_served: {
    ask: (db) => leases.listLeasesExpiredWhileServed(db, 1, place, 500),
    walks: ['jobs_leased from a place'],
  },
  lock_leases_expired_while_served: {
    ask: (db) => leases.lockLeasesExpiredWhileServed(db, 1, ids),
  },
  list_overrun_leases: {
    ask: (db) => overruns.listOverrunLeases(db, 1, place, 500, 1),
    walks: ['jobs_leased from a place'],
  },
  lock_overrun_leases: { ask: (db) => overruns.lockOverrunLeases(db, 1, ids, 1) },
  end_leases_if_fenced: { ask: (db) => leases.endLeasesIfFenced(db, [end]) },
  extend_leases_if_held: { ask: (db) => leases.extendLeasesIfHeld(db, [lease], 1) },
  lock_offers_if_unshown: { ask: (db) => leases.lockOffersIfUnshown(db, [lease]) },
  find_standings: { ask: (db) => reports.findStandings(db, ids) },
  record_progress_if_held: {
    ask: (db) => recordProgressIfHeld(db, [{ ...lease, progress: '{}' }]),
  },
  find_ended_leases: { ask: (db) => reports.findEndedLeases(db, [lease]) },
  record_late_reports: { ask: (db) => reports.recordLateReports(db, []) },

  register_executors: { ask: (db) => executors.registerExecutors(db, []) },
  touch_executors_if_current: { ask: (db) => executors.touchExecutorsIfCurrent(db, [lease]) },
  find_registered: { ask: (db) => executors.findRegistered(db, who) },
  find_epochs: { ask: (db) => executors.findEpochs(db, who) },
  deregister_if_current: { ask: (db) => executors.deregisterIfCurrent(db, 'executor 1', 1) },
  find_health: { ask: (db) => health.findHealth(db, who) },
  lock_health: { ask: (db) => health.lockHealth(db, who) },
  write_trouble: { ask: (db) => health.writeTrouble(db, []) },
  list_silent: {
    ask: (db) => health.listSilent(db, 1, patience, '', 500),
    walks: ['executors_pkey from a place'],
  },
  lock_silent: { ask: (db) => health.lockSilent(db, 1, patience, who) },
  write_states: { ask: (db) => health.writeStates(db, []) },
  write_drains: {
    ask: (db) => health.writeDrains(db, 'executor 1', { drained: true, drained_epoch: null }),
  },
  forget_own_drains: { ask: (db) => health.forgetOwnDrains(db, who) },
  list_holders: { ask: (db) => health.listHolders(db, who) },
  record_executor_events: {
    ask: (db) =>
      recordExecutorEvents(db, [
        { ...lease, axis: 'state', was: 'healthy', became: 'lost', reason: 'silent' },
      ]),
  },

  cancel_jobs_if_open: { ask: (db) => cancels.cancelJobsIfOpen(db, ids, null) },
  list_unfinished_cancels: {
    ask: (db) => cancels.listUnfinishedCancels(db, id, 500),
    walks: ['jobs_cancelling from a place'],
  },
  tell_cancels: { ask: (db) => cancels.tellCancels(db, judge, [lease]) },
  list_unanswered_cancels: {
    ask: (db) => cancels.listUnansweredCancels(db, judge, 1, id, 500),
    walks: ['jobs_cancelling from a place'],
  },
  lock_unanswered_cancels: { ask: (db) => cancels.lockUnansweredCancels(db, judge, 1, ids) },
  get_section: { ask: (db) => cancels.getSection(db, judge, id) },
  enter_critical_if_held: { ask: (db) => cancels.enterCriticalIfHeld(db, lease, judge, 1) },
  leave_critical_if_held: { ask: (db) => cancels.leaveCriticalIfHeld(db, lease) },

  find_effect: { ask: (db) => effects.findEffect(db, { job_id: id, key: 'key' }) },
  begin_effect_unless_committed: {
    ask: (db) => effects.beginEffectUnlessCommitted(db, 'key', begun, 'hold'),
  },
  record_doubt_if_unsettled: {
    ask: (db) => effects.recordDoubtIfUnsettled(db, 'key', begun, true),
  },
  settle_effect_if_begun: { ask: (db) => effects.settleEffectIfBegun(db, 'key', begun, settled) },
  resolve_effect_if_open: {
    ask: (db) => effects.resolveEffectIfOpen(db, { job_id: id, key: 'key' }, settled),
  },
  let_go_of_holds: { ask: (db) => effects.letGoOfHolds(db, ids) },
  resume_if_waiting: { ask: (db) => effects.resumeIfWaiting(db, id) },
  has_held_once: { ask: (db) => effects.hasHeldOnce(db, lease) },
  record_late_word_if_held_once: {
    ask: (db) => effects.recordLateWordIfHeldOnce(db, 'key', begun, settled),
  },
  count_effects: { ask: (db) => effects.countEffects(db, id) },
  list_jobs_of_orphaned_effects: {
    ask: (db) => effects.listJobsOfOrphanedEffects(db, id, 500),
    walks: ['effects_begun from a place'],
  },
  doubt_orphaned_effects: { ask: (db) => effects.doubtOrphanedEffects(db, ids) },

  lock_pipeline: { ask: (db) => stages.lockPipeline(db, id) },
  list_stages: { ask: (db) => stages.listStages(db, id) },
  undo_stages_from: { ask: (db) => stages.undoStagesFrom(db, id, 0) },
  approve_stage: { ask: (db) => stages.approveStage(db, id, 0) },
  move_job_if_there: { ask: (db) => moves.moveJobIfThere(db, at, { end: 'succeeded' }) },
  record_move: { ask: (db) => moves.recordMove(db, at, 'b', move) },
  find_move_by_key: { ask: (db) => moves.findMoveByKey(db, id, 'key') },
  list_moves: { ask: (db) => moves.listMoves(db, id, { after: 0, limit: 50 }) },
  find_live_transition: { ask: (db) => transitions.findLiveTransition(db, id) },
  find_transition: { ask: (db) => transitions.findTransition(db, id, id) },
  was_transition_taken_over: { ask: (db) => transitions.wasTakenOver(db, id, claim) },
  insert_transition: {
    ask: (db) => transitions.insertTransition(db, { ...claim, ceiling_ms: 1 }),
  },
  end_transition_if_live: { ask: (db) => transitions.endTransitionIfLive(db, id, 'forced') },
  hold_for_transition: { ask: (db) => transitions.holdForTransition(db, claim) },
  release_from_transition: {
    ask: (db) => transitions.releaseFromTransition(db, ids),
    reads: liveTransitions,
  },
  list_expired_transitions: {
    ask: (db) => transitions.listExpiredTransitions(db, transitions.beforeAllExpiries, 500),
    walks: ['transitions_expiring from a place'],
    reads: liveTransitions,
  },
  expire_transitions: {
    ask: (db) => transitions.expireTransitions(db, ids),
    reads: liveTransitions,
  },

  lock_for_retry: { ask: (db) => retries.lockForRetry(db, ids) },
  find_retry: { ask: (db) => retries.findRetry(db, id) },
  point_to_retries_if_final: { ask: (db) => retries.pointToRetriesIfFinal(db, retry) },
  insert_retries_unless_keyed: { ask: (db) => retries.insertRetriesUnlessKeyed(db, retry, 0) },
  inherit_effects: { ask: (db) => retries.inheritEffects(db, retry) },
  inherit_stages: { ask: (db) => retries.inheritStages(db, retry) },
  inherit_progress: { ask: (db) => retries.inheritProgress(db, retry) },

  acquire_lock_if_free: { ask: (db) => locks.acquireLockIfFree(db, wanted) },
  renew_lock_if_held: { ask: (db) => locks.renewLockIfHeld(db, 'l', { ...process, fence: 1 }, 1) },
  release_lock_if_latest: {
    ask: (db) => locks.releaseLockIfLatest(db, 'l', { ...process, fence: 1 }),
  },
  force_release_if_held: { ask: (db) => locks.forceReleaseIfHeld(db, 'l', 1) },
  find_lock: { ask: (db) => locks.findLock(db, 'l') },
  list_free_names: { ask: (db) => locks.listFreeNames(db, ['l']) },
  was_taken_over: { ask: (db) => locks.wasTakenOver(db, 'l', process) },

  // All names, once a minute; most are gone a day after.
  has_abandoned_locks: { ask: (db) => locks.hasAbandonedLocks(db), reads: ['locks'] },
  prune_abandoned_locks: {
    ask: (db) => locks.pruneAbandonedLocks(db, 500),
    walks: ['locks_pkey'],
    reads: ['locks'],
  },

  find_tokens: { ask: (db) => tokens.findTokens(db, ['token 1']) },
  list_revoked_tokens: {
    ask: (db) => tokens.listRevokedTokens(db, 1),
    reads: ['tokens_revoked from a place'],
  },
  observe_leader: { ask: (db) => observeLeader(db) },
  list_classes: { ask: (db) => listClasses(db) },
  // All that is live, once a minute.
  find_violations: {
    ask: (db) => findViolations(db),
    reads: ['effects_begun', 'executors', 'jobs_leased', 'transitions_live'],
  },
}
