import type { HistoryEvent } from './events.ts'
import type { Indexed } from './indexed.ts'
import type { Op } from './requests.ts'

export interface Violation extends Finding {
  /** Its number in DESIGN 3. */
  invariant: number
  /** The function that found it. */
  rule: string
}

export interface Finding {
  /** One sentence, with ids and numbers. */
  what: string
  jobId?: string
  executorId?: string
  term?: number
  /** By the monotonic clock. */
  at?: number
  /** Those involved. */
  events: HistoryEvent[]
}

export interface CheckOptions {
  /** As the replicas were configured. */
  lostLeaseBudget: number
}

/** As replicas have it by default, and in every drill. */
export const defaultOptions: CheckOptions = { lostLeaseBudget: 5 }

/** Linear in the history, but for logarithms: a drill is checked with all of it in memory. */
export type Rule = (history: Indexed, options: CheckOptions) => Iterable<Finding>

/** What a request left in the history. */
export function eventsOf(...ops: Op[]): HistoryEvent[] {
  return ops.flatMap(({ invoke, answer, lost }) =>
    [invoke, answer, lost].filter((event) => event !== undefined),
  )
}
