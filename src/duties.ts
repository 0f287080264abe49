import type { Config } from './config.ts'
import type { Deferral } from './domain/lease.ts'
import type { Duties } from './leader/tenure.ts'
import type { Term } from './leader/term.ts'
import type { Log } from './log.ts'
import type { LoopRun, LoopState } from './loop.ts'
import type { Parts } from './parts.ts'
import { checkSchemaPhase } from './recovery/check-schema.ts'
import { doubtEffectsPhase } from './recovery/doubt-effects.ts'
import { finishCancelsPhase } from './recovery/finish-cancels.ts'
import { loadMemoryPhase } from './recovery/load-memory.ts'
import { markGonePhase } from './recovery/mark-gone.ts'
import { type Phase, recover } from './recovery/recover.ts'
import { rehearse } from './recovery/rehearse.ts'
import { settleDeadlinesPhase } from './recovery/settle-deadlines.ts'
import { verifyPhase } from './recovery/verify.ts'
import { refusal } from './services/serving.ts'
import { raiseDeadlineFloor } from './sql/leader.ts'
import { endUnansweredCancels } from './sweep/end-unanswered-cancels.ts'
import { enforceRunTimeouts } from './sweep/enforce-run-timeouts.ts'
import { expireLeases } from './sweep/expire-leases.ts'
import { expireOldTransitions } from './sweep/expire-transitions.ts'
import { pruneLocks } from './sweep/prune-locks.ts'
import { scanClaimable } from './sweep/scan-claimable.ts'
import { runSweeps, type Sweep } from './sweep/scheduler.ts'
import { verify } from './sweep/verify.ts'
import { wakeDue } from './sweep/wake-due-jobs.ts'
import { watchExecutors } from './sweep/watch-executors.ts'

/** What a standby of this build does while it waits. */
export function rehearsal({ pools, migrations }: Parts, log: Log): Promise<void> {
  return rehearse(pools.leader, migrations, log)
}

/** The phases of recovery, in order. */
function phasesOf({ lostLeaseBudget }: Config, log: Log, parts: Parts): Phase[] {
  const { pools, db, doors, wiring, migrations } = parts
  const { leaseEnds } = wiring
  return [
    checkSchemaPhase(pools.leader, migrations),
    markGonePhase(doors),
    settleDeadlinesPhase(db, { doors, leaseEnds, log, lostLeaseBudget }),
    finishCancelsPhase(db, doors, log),
    doubtEffectsPhase(db, doors, log),
    loadMemoryPhase(db, wiring),
    verifyPhase(db, log),
  ]
}

/** What a leader repeats while its gate is open. */
export function sweepsOf(
  { lostLeaseBudget, timings }: Config,
  log: Log,
  { db, doors, wiring }: Parts,
  onDeferred: (reason: Deferral) => void,
): Sweep[] {
  const { leaseEnds, stalls, polls, catalog, wakeNudge, onPlaced, reaper } = wiring
  const onExpired = (transitions: number) => reaper.expired(transitions)
  const { sweepIntervalMs: intervalMs, leaseTtlMs, cancelGraceMs, runTimeoutGraceMs } = timings
  const ending = { db, doors, leaseEnds, log, intervalMs, stalls }
  return [
    expireLeases({ ...ending, lostLeaseBudget, leaseTtlMs, onDeferred }),
    endUnansweredCancels({ ...ending, leaseTtlMs, graceMs: cancelGraceMs }),
    enforceRunTimeouts({ ...ending, graceMs: runTimeoutGraceMs }),
    wakeDue({ db, doors, polls, nudge: wakeNudge, log }),
    watchExecutors({ ...ending, ...timings, onDeferred }),
    expireOldTransitions({ db, doors, log, intervalMs, onPlaced, onExpired }),
    scanClaimable(db, catalog, polls),
    pruneLocks(db, doors),
    verify(db, log, 12 * intervalMs),
  ]
}

/** Once the gate is open: every executor gets one full TTL from then on (invariant 7). */
export async function startDeadlines(
  term: Term,
  doors: Parts['doors'],
  { timings }: Pick<Config, 'timings'>,
): Promise<void> {
  await doors.asLeader(term, (tx) => raiseDeadlineFloor(tx, term.number, timings.leaseTtlMs))
}

/** What a leader of this build does. */
export function duties(config: Config, log: Log, parts: Parts): Duties {
  const { doors, gate, wiring, clock, metrics, sweepStates } = parts
  const { stalls, waitList } = wiring
  const onDeferred = (reason: Deferral) => {
    metrics.reclaimDeferred(reason)
    wiring.reaper.deferred(reason)
  }
  const phases = phasesOf(config, log, parts)
  const sweeps = sweepsOf(config, log, parts, onDeferred)
  return {
    recover: async (term, lost) => {
      // What waits from before a second recovery waits under memory that is about to be replaced.
      waitList.end('poll', refusal(gate))
      await recoverCounted(term, lost, phases, { ...parts, log })
    },
    sweep: async (term, lost) => {
      if (gate.serving === term) log.info({ term: term.number }, 'active: the gate is open')
      lost.addEventListener('abort', () => waitList.end('poll', refusal(gate)), { once: true })
      await startDeadlines(term, doors, config)
      onDeferred('promotion')
      const onState = (state: LoopState) => sweepStates.set(state.name, state)
      const onRun = (run: LoopRun) => metrics.sweepRan(run)
      const scheduling = { sweeps, clock, log, onState, onRun }
      await Promise.all([stalls.run(lost), runSweeps(term, lost, scheduling)])
    },
  }
}

/** A term that is lost has not failed to recover. */
async function recoverCounted(
  term: Term,
  lost: AbortSignal,
  phases: Phase[],
  { metrics, doors, clock, log }: Pick<Parts, 'metrics' | 'doors' | 'clock'> & { log: Log },
): Promise<void> {
  const startedAt = clock.monotonic()
  const onPhase = (phase: string, ms: number) => metrics.recoveryPhase(phase, ms)
  try {
    await recover(term, lost, { phases, doors, clock, log, onPhase })
    metrics.recovered(clock.monotonic() - startedAt)
  } catch (error) {
    if (!lost.aborted) metrics.recoveryFailed()
    throw error
  }
}
