import type { HistoryEvent } from './history/events.ts'
import type { Stage, StageOptions } from './stage/stage.ts'

/** For drills that are not one fault, but many. */
export interface Manner {
  /** How long they go on. */
  minutes: number
  /** Of their dice. */
  seed: number
  /** Has something told with the result. */
  note(line: string): void
}

/** One fault, and what must come of it. */
export interface Drill {
  name: string
  title: string
  /** How often in the set that every change has to pass; absent: not in it. */
  smokeRuns?: number
  /** How often for the figures. Default: 10. */
  figureRuns?: number
  /** It cannot be done twice on one stage. */
  isOnce?: boolean
  stage?: StageOptions
  /** Whether this fault ends a term; if not, it must not. */
  promotes: boolean
  /** It is done to executors: leases may be lost for it. */
  harmsExecutors?: boolean
  /** Does it, and leaves a stage that is whole, so that it can be done again. Throws if what it waits for
   *  does not come. */
  run(stage: Stage, manner: Manner): Promise<void>
  /** What it came across, a line each. */
  describe?(events: HistoryEvent[]): string[]
  /** What must have been seen besides, or the fault was none. */
  findFault?(events: HistoryEvent[]): boolean
}
