import type { Drill } from './drill.ts'
import type { Figures } from './figures.ts'
import { answersTo } from './history/answers-to.ts'
import type { Change, ClockEvent, HistoryEvent } from './history/events.ts'
import { type Done, doneOps, joinOps, verdictsOf } from './history/requests.ts'
import { releaseKind } from './stage/release.ts'
import type { HeardLine } from './stage/replica.ts'

/** Whether a drill was one at all, and did what it was to do: a history in which nothing happens breaks no
 *  invariant. */
export function judge(
  drill: Drill,
  events: HistoryEvent[],
  runs: Figures[],
  lines: HeardLine[],
): string[] {
  return [
    ...judgeLoad(events),
    ...judgePromotions(drill, events, runs, lines),
    ...judgeReclaims(drill, events),
    ...(drill.findFault?.(events) === false ? ['the fault was not felt'] : []),
  ]
}

/** Of each actor, whatever the drill. */
const least = { submits: 30, reports: 10 }

function judgeLoad(events: HistoryEvent[]): string[] {
  const complaints: string[] = []
  const reported = doneOps(joinOps(events), 'report')
  for (const way of ['direct', 'balanced']) {
    const submits = answersTo(events, `submitter-${way}`).filter(
      ({ status }) => status < 300,
    ).length
    if (submits < least.submits) complaints.push(`submitter-${way} got ${submits} answers`)
    const reports = countAccepted(reported, `fleet-${way}`)
    if (reports < least.reports) complaints.push(`fleet-${way} had ${reports} reports accepted`)
  }
  if (!events.some(({ type }) => type === 'commit')) complaints.push('nothing was committed')
  complaints.push(...judgeReleases(events))
  if (!events.some(({ type }) => type === 'drained')) complaints.push('it was not drained')
  return complaints
}

/** The first release of the desk is neither cancelled nor broken, and a drill is over when it has ended: so each has
 *  at least these, however short it is. */
function judgeReleases(events: HistoryEvent[]): string[] {
  const rows = changesOf(events)
  const committed = new Set(
    rows
      .filter(({ table, row }) => table === 'effects' && row.state === 'committed')
      .map(({ row }) => row.effect_token),
  )
  const isActed = events.some((event) => event.type === 'acted' && committed.has(event.token))
  // From a stage that waits for a decision: only the desk can have moved it.
  const isMoved = rows.some(({ table, row }) => {
    return (
      table === 'jobs' && row.kind === releaseKind && row.stage === 'deploy' && Number(row.move) > 0
    )
  })
  return [
    ...(isActed ? [] : ['no effect was done and committed']),
    ...(isMoved ? [] : ['no release was moved to its deploy']),
  ]
}

function countAccepted(reported: Done<'report'>[], actor: string): number {
  let accepted = 0
  for (const op of reported) {
    if (op.invoke.actor !== actor) continue
    for (const { status } of verdictsOf(op)) if (status === 'accepted') accepted += 1
  }
  return accepted
}

function judgePromotions(
  { promotes }: Drill,
  events: HistoryEvent[],
  runs: Figures[],
  lines: HeardLine[],
): string[] {
  if (promotes) {
    const missed = runs.filter(({ promoted_ms }) => promoted_ms === null).length
    return missed === 0 ? [] : [`nobody was promoted in ${missed} of ${runs.length} runs`]
  }
  const stalls = stallsOf(events)
  return lines
    .filter(({ msg, reason }) => msg === 'leadership ended' && reason !== 'hand_over')
    .filter(({ wall }) => !stalls.some(({ from, until }) => wall >= from && wall <= until + 5_000))
    .map(({ reason = 'unknown' }) => `a term ended for nothing: ${reason}`)
}

/** When this machine had no time even for the stage, by the lines that it writes four times a second: then a
 *  leader may lose its trust in itself, and nothing is wrong. */
function stallsOf(events: HistoryEvent[]): { from: number; until: number }[] {
  const clocks = events.filter((event): event is ClockEvent => event.type === 'clock')
  return clocks.flatMap(({ at, wall }, index) => {
    const next = clocks[index + 1]
    return next && next.at - at > 750 ? [{ from: wall, until: next.wall }] : []
  })
}

function judgeReclaims({ harmsExecutors }: Drill, events: HistoryEvent[]): string[] {
  const reclaims = countReclaims(events)
  if (harmsExecutors) return reclaims > 0 ? [] : ['no lease was lost, though executors were harmed']
  return reclaims > 0 ? [`${reclaims} leases were lost, though no executor was harmed`] : []
}

/** Leases that ended without a word of their executor. */
export function countReclaims(events: HistoryEvent[]): number {
  return changesOf(events).filter(({ table, row }) => {
    return table === 'attempts' && row.outcome === 'lost'
  }).length
}

function changesOf(events: HistoryEvent[]): Change[] {
  return events.filter((event) => event.type === 'commit').flatMap(({ changes }) => changes)
}
