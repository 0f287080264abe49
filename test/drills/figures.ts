import type { AnswerEvent, HistoryEvent, InvokeEvent } from './history/events.ts'
import type { HeardLine } from './stage/replica.ts'

/** From when to when a drill's fault was done and got over, on the clock of the history. */
export interface Window {
  from: number
  until: number
}

/** What one fault cost, in milliseconds from it. Gaps are the longest silences between two answers that were
 *  successes: of all executors that have a list of URLs, of all behind the balancer, of the submitters. */
export interface Figures {
  fault: string
  target: string
  gap_ms: Record<Group, number | null>
  /** Of each executor. */
  executor_gap_ms: { p50: number | null; max: number | null }
  /** The successor was granted the lock; led; served. null: nobody was promoted. */
  granted_ms: number | null
  promoted_ms: number | null
  served_ms: number | null
  /** Submits through the balancer, first tried in this time, of which the SDK told its user that they failed. */
  failed_submits: number
  /** Of those through the balancer: tries that were answered by a 5xx, or not at all. */
  failed_tries: number
  /** Requests of anybody that got no answer. */
  lost: number
}

const groups = {
  executors: (actor: string) => actor === 'fleet-direct',
  balanced_executors: (actor: string) => actor === 'fleet-balanced',
  submitters: (actor: string) => actor === 'submitter-direct',
  balanced_submitters: (actor: string) => actor === 'submitter-balanced',
}
type Group = keyof typeof groups

export interface Success {
  at: number
  actor: string
  executorId: string | undefined
}

/** Figures of the first fault within the window. */
export function figuresOf(events: HistoryEvent[], window: Window, lines: HeardLine[]): Figures {
  const fault = events.find(
    (event) => event.type === 'fault' && event.at >= window.from && event.phase === 'start',
  )
  if (fault?.type !== 'fault') throw new Error('no fault was done')
  const since = { from: fault.at, until: window.until }
  const { successes, failures } = outcomes(events, since)
  const silence = (its: Success[]) => longestSilence(its, since)
  const gaps = [...Map.groupBy(successes, ({ executorId }) => executorId)]
    .filter(([id]) => id !== undefined && !id.startsWith('herd-'))
    .map(([, its]) => silence(its))
  const line = lineFinder(events, lines, since)
  return {
    fault: fault.fault,
    target: fault.target,
    gap_ms: Object.fromEntries(
      Object.entries(groups).map(([group, isOf]) => [
        group,
        silence(successes.filter(({ actor }) => isOf(actor))),
      ]),
    ) as Record<Group, number | null>,
    executor_gap_ms: { p50: percentile(gaps, 0.5), max: percentile(gaps, 1) },
    granted_ms: line('lock granted'),
    promoted_ms: line('promoted'),
    served_ms: line('active'),
    failed_submits: countFailedSubmits(events, since),
    ...failures,
  }
}

/** Successes around the window, and failures in it. */
function outcomes(events: HistoryEvent[], { from, until }: Window) {
  const invoked = new Map<string, InvokeEvent>()
  const successes: Success[] = []
  const failures = { failed_tries: 0, lost: 0 }
  for (const event of events) {
    const isWithin = event.type !== 'commit' && event.at >= from && event.at <= until
    if (event.type === 'invoke') invoked.set(event.op, event)
    if (event.type !== 'answer' && event.type !== 'lost') continue
    const its = invoked.get(event.op)
    if (!its) continue
    if (isSuccess(event)) successes.push(successOf(event, its))
    else if (isWithin) {
      if (event.type === 'lost') failures.lost += 1
      if (its.actor === 'submitter-balanced') failures.failed_tries += 1
    }
  }
  return { successes, failures }
}

/** The SDK gives up after its patience, long after the fault: what counts is when it began. */
function countFailedSubmits(events: HistoryEvent[], { from, until }: Window): number {
  const actor = 'submitter-balanced'
  const gaveUp = events.filter((event) => event.type === 'gave_up' && event.actor === actor)
  const keys = new Set(gaveUp.map((event) => event.type === 'gave_up' && event.key))
  const begun = new Map<string, number>()
  for (const event of events) {
    if (event.type !== 'invoke' || event.actor !== actor) continue
    const { idempotency_key: key } = (event.body ?? {}) as { idempotency_key?: string }
    if (key !== undefined && keys.has(key) && !begun.has(key)) begun.set(key, event.at)
  }
  return [...begun.values()].filter((at) => at >= from && at <= until).length
}

function isSuccess(event: HistoryEvent): event is AnswerEvent {
  return event.type === 'answer' && event.status >= 200 && event.status < 300
}

function successOf({ at }: AnswerEvent, { actor, path }: InvokeEvent): Success {
  return { at, actor, executorId: /^\/v1\/executors\/([^/]+)\/\w+$/.exec(path)?.[1] }
}

/** The longest time without a success, counted from `from` at the earliest; what began before `until` counts to
 *  its end. null: there never was one, so that none was to be expected. */
export function longestSilence(its: Success[], { from, until }: Window): number | null {
  if (its.length === 0) return null
  let before = from
  let longest = 0
  for (const { at } of its) {
    if (at < from) continue
    if (before > until) break
    longest = Math.max(longest, at - before)
    before = at
  }
  return round(Math.max(longest, until - before))
}

/** When the first line within the window came that begins so, in milliseconds from its beginning. */
function lineFinder(events: HistoryEvent[], lines: HeardLine[], { from, until }: Window) {
  const clock = events.findLast((event) => event.type === 'clock' && event.at <= from)
  const toWall = (at: number) => (clock?.type === 'clock' ? clock.wall + at - clock.at : 0)
  return (start: string) => {
    // The wall clock has whole milliseconds.
    const walls = lines
      .filter(
        ({ wall, msg }) =>
          wall >= Math.floor(toWall(from)) && wall <= toWall(until) && msg.startsWith(start),
      )
      .map(({ wall }) => wall)
    return walls.length === 0 ? null : Math.max(0, round(Math.min(...walls) - toWall(from)))
  }
}

/** Of the values that are there; by nearest rank. */
export function percentile(values: (number | null)[], share: number): number | null {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b)
  return known[Math.max(0, Math.ceil(share * known.length) - 1)] ?? null
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
