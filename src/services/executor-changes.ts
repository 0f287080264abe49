import { afterOutcome, type ExecutorState, isCounted } from '../domain/executor-health.ts'
import type { LeaseEnd } from '../domain/lease.ts'
import { type NewExecutorEvent, recordExecutorEvents } from '../sql/executor-events.ts'
import {
  type Drains,
  forgetOwnDrains,
  type HealthRow,
  lockHealth,
  type StandingRow,
  writeStates,
  writeTrouble,
} from '../sql/executor-health.ts'
import type { Queryable } from '../sql/pool.ts'

/** What a transaction that hears executors does to how they are, beside its own business: nothing, as long as all
 *  is well. Jobs are locked before. */

interface Heard {
  executor_id: string
  epoch: number
  /** As recorded; its row is locked. */
  state: ExecutorState
}

/** Whoever is heard is healthy, whatever was thought of it. */
export async function recordHeard(
  tx: Queryable,
  executors: Heard[],
  reason: 'heard' | 'registered',
): Promise<void> {
  const back = executors.filter(({ state }) => state !== 'healthy')
  if (back.length === 0) return
  await writeStates(
    tx,
    back.map(({ executor_id }) => ({ executor_id, state: 'healthy' })),
  )
  await recordExecutorEvents(
    tx,
    back.map(({ executor_id, epoch, state }) => {
      return { executor_id, epoch, axis: 'state', was: state, became: 'healthy', reason }
    }),
  )
}

/** A drain that the process before asked for ended with it. */
export async function endOwnDrains(
  tx: Queryable,
  executors: (Drains & { executor_id: string; epoch: number })[],
): Promise<void> {
  const ended = executors.filter(({ drained_epoch }) => drained_epoch !== null)
  if (ended.length === 0) return
  await forgetOwnDrains(
    tx,
    ended.map(({ executor_id }) => executor_id),
  )
  const accepting = ended.filter(({ drained }) => !drained)
  await recordExecutorEvents(
    tx,
    accepting.map(({ executor_id, epoch }) => {
      const change = { was: 'draining', became: 'accepting', reason: 'registered' }
      return { executor_id, epoch, axis: 'drain', ...change }
    }),
  )
}

/** Counts how jobs ended against their executors, in the order of their reports. `known` is how those were just now:
 *  what would change nothing locks nothing. Returns how those stand that were changed. */
export async function countOutcomes(
  tx: Queryable,
  ends: LeaseEnd[],
  known: HealthRow[],
): Promise<StandingRow[]> {
  // Whoever is told to stop may well fail: that says nothing of the machine.
  const told = ends.filter(({ outcome, to }) => !(outcome === 'failed' && to === 'cancelled'))
  const byExecutor = Map.groupBy(told, ({ job }) => job.executor_id ?? '')
  const concerned = known.filter((row) =>
    byExecutor.get(row.executor_id)?.some(({ outcome }) => isCounted(row, outcome)),
  )
  if (concerned.length === 0) return []
  const locked = await lockHealth(
    tx,
    concerned.map(({ executor_id }) => executor_id),
  )
  const changes = locked.map((row) => {
    const outcomes = (byExecutor.get(row.executor_id) ?? []).map(({ outcome }) => outcome)
    return change(row, outcomes)
  })
  const standings = await writeTrouble(
    tx,
    changes.map(({ trouble }) => trouble),
  )
  await recordExecutorEvents(
    tx,
    changes.flatMap(({ events }) => events),
  )
  return standings
}

/** Report by report: a batch may degrade an executor and have it healthy again, and both are told. */
function change(row: HealthRow, outcomes: LeaseEnd['outcome'][]) {
  const { executor_id, epoch } = row
  const events: NewExecutorEvent[] = []
  let { health, failures, successes } = row
  for (const outcome of outcomes) {
    const after = afterOutcome({ health, failures, successes }, outcome)
    if (after.health !== health) {
      const isWorse = outcome === 'failed'
      const count = isWorse ? { failures: failures + 1 } : { successes: successes + 1 }
      const reason = isWorse ? 'failures' : 'successes'
      const [was, became] = [health, after.health]
      events.push({ executor_id, epoch, axis: 'health', was, became, reason, facts: count })
    }
    ;({ health, failures, successes } = after)
  }
  return { trouble: { executor_id, health, failures, successes }, events }
}
