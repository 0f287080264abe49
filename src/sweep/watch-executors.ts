import { afterSilence, missedBeats } from '../domain/executor-health.ts'
import type { Term } from '../leader/term.ts'
import type { Stalls } from '../services/stalls.ts'
import type { Doors } from '../sql/doors.ts'
import { recordExecutorEvents } from '../sql/executor-events.ts'
import { listSilent, lockSilent, type Patience, writeStates } from '../sql/executor-health.ts'
import { raiseFloorIfFleetFellSilent } from '../sql/leader.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Sweep } from './scheduler.ts'

export interface WatchExecutorsOptions {
  db: Queryable
  doors: Doors
  stalls: Stalls
  intervalMs: number
  heartbeatMs: number
  leaseTtlMs: number
  onDeferred?(reason: 'silence'): void
}

const batch = 500

/** Records which executors have fallen silent. It takes nothing from them: their leases run out by themselves. The
 *  way back is recorded by the heartbeat, which has their rows in hand. Time in which nobody was heard is no
 *  silence of theirs (invariant 7). */
export function watchExecutors(o: WatchExecutorsOptions): Sweep {
  const patience = { suspectMs: missedBeats * o.heartbeatMs, lostMs: o.leaseTtlMs }
  // Where the next pass goes on: those that are locked must not be all that it ever finds.
  let after = ''
  return {
    name: 'watch_executors',
    intervalMs: o.intervalMs,
    runOnce: async (term) => {
      // The sweep of leases moves the floor for it; until then nobody is judged.
      if (o.stalls.unsettled > 0) return { counts: {} }
      const silent = await listSilent(o.db, term.number, patience, after, batch)
      const last = silent.at(-1)
      const isLast = silent.length < batch || last === undefined
      after = isLast ? '' : last.executor_id
      if (last === undefined) return { counts: { suspect: 0, lost: 0 } }
      if (silent.some(({ silent_ms }) => silent_ms > patience.lostMs)) await waitForFleet(o, term)
      const ids = silent.map(({ executor_id }) => executor_id)
      const counts = await o.doors.asLeader(term, (tx) => recordSilence(tx, term, patience, ids))
      return isLast ? { counts } : { counts, pauseMs: 0 }
    },
  }
}

/** As with their leases: most of a fleet at the same time is not given up at once. */
async function waitForFleet(o: WatchExecutorsOptions, term: Term): Promise<void> {
  const silent = await o.doors.asLeader(term, (tx) =>
    raiseFloorIfFleetFellSilent(tx, term.number, o.leaseTtlMs),
  )
  if (silent > 0) o.onDeferred?.('silence')
}

async function recordSilence(tx: Queryable, term: Term, patience: Patience, ids: string[]) {
  const rows = await lockSilent(tx, term.number, patience, ids)
  const moves = rows.map((row) => ({
    ...row,
    to: afterSilence(row.state, row.silent_ms, patience),
  }))
  if (moves.length > 0) {
    await writeStates(
      tx,
      moves.map(({ executor_id, to }) => ({ executor_id, state: to })),
    )
  }
  await recordExecutorEvents(
    tx,
    moves.map(({ executor_id, epoch, state, to, silent_ms }) => {
      const facts = { silent_ms: Math.round(silent_ms) }
      return { executor_id, epoch, axis: 'state', was: state, became: to, reason: 'silent', facts }
    }),
  )
  const count = (state: string) => moves.filter(({ to }) => to === state).length
  return { suspect: count('suspect'), lost: count('lost') }
}
