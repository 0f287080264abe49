import { type Figures, percentile } from './figures.ts'
import type { DrillResult } from './run-drill.ts'

/** What a fault may cost, in milliseconds or as a count. */
interface Goal {
  drill: string
  what: string
  of(run: Figures): number | null
  /** Share of the runs that has to keep it: 0.5, 0.99, 1. */
  share: number
  atMost: number
}

const executors = (run: Figures) => run.gap_ms.executors
const balanced = (run: Figures) => run.gap_ms.balanced_executors
const slowest = (run: Figures) => run.executor_gap_ms.max
const failed = (run: Figures) => run.failed_submits
const recovery = ({ served_ms, promoted_ms }: Figures) =>
  served_ms === null || promoted_ms === null ? null : served_ms - promoted_ms

/** Faults of one replica, through which no submit may fail. */
const ofOneReplica = [
  ...['kill-active', 'hand-over', 'step-down', 'freeze', 'freeze-in-transaction', 'lock-session'],
  ...['takeover', 'blocked-loop', 'cut-off', 'cut-off-half-open', 'slow-database'],
  ...['balancer-cut-off', 'fails-open'],
]

const goals: Goal[] = [
  { drill: 'kill-active', what: 'gap, URL list', of: executors, share: 0.5, atMost: 150 },
  { drill: 'kill-active', what: 'gap, URL list', of: executors, share: 0.99, atMost: 500 },
  { drill: 'kill-active', what: 'gap, balancer', of: balanced, share: 0.99, atMost: 1_000 },
  { drill: 'hand-over', what: 'gap, URL list', of: executors, share: 0.99, atMost: 250 },
  { drill: 'freeze', what: 'gap, URL list', of: executors, share: 0.99, atMost: 4_000 },
  { drill: 'freeze', what: 'gap of one executor', of: slowest, share: 0.99, atMost: 8_000 },
  { drill: 'cut-off-half-open', what: 'gap, URL list', of: executors, share: 0.99, atMost: 5_000 },
  { drill: 'large-table', what: 'recovery', of: recovery, share: 1, atMost: 2_000 },
  ...ofOneReplica.map((drill) => {
    return { drill, what: 'failed submits', of: failed, share: 1, atMost: 0 }
  }),
]

/** A line for each goal whose drill was run. */
export function compareWithGoals(results: DrillResult[]): string[] {
  return goals.flatMap(({ drill, what, of, share, atMost }) => {
    const runs = results.find((result) => result.drill === drill)?.runs ?? []
    if (runs.length === 0) return []
    // Never is longer than any goal.
    const reached = percentile(
      runs.map((run) => of(run) ?? Number.POSITIVE_INFINITY),
      share,
    )
    const isKept = reached !== null && reached <= atMost
    const name = share === 1 ? 'most' : `p${share * 100}`
    const goal = `${isKept ? 'kept  ' : 'MISSED'}  ${drill.padEnd(22)} ${what}, ${name}:`
    return [`${goal} ${reached ?? '-'}, at most ${atMost} wanted (${runs.length} runs)`]
  })
}
