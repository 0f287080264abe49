import { toMonotonic } from './clocks.ts'
import type { Change, CommitEvent, HistoryEvent } from './events.ts'
import { toRecord } from './requests.ts'
import type { Violation } from './violation.ts'

const aroundMs = 5_000

/** A violation as a counter-example that can be read: the sentence, then what happened to the same job,
 *  executor or term, with the promotions and faults around it. */
export function explain(violation: Violation, events: HistoryEvent[]): string {
  const clocks = events.filter((event) => event.type === 'clock')
  const toAt = clocks.length > 0 ? toMonotonic(clocks) : (wall: number) => wall
  const atOf = (event: HistoryEvent) =>
    event.type === 'commit' ? toAt(event.committedAt) : event.at
  const last = violation.events.at(-1)
  const zero = violation.at ?? (last ? atOf(last) : 0)
  const involved = new Set(violation.events)
  const isAbout = (event: HistoryEvent) =>
    involved.has(event) || isOf(violation, event, Math.abs(atOf(event) - zero) <= aroundMs)
  // Of a request all that is known, or nothing.
  const ops = new Set(events.filter(isAbout).map((event) => ('op' in event ? event.op : undefined)))
  const isShown = (event: HistoryEvent) => ('op' in event ? ops.has(event.op) : isAbout(event))
  const shown = events
    .filter(isShown)
    .map((event) => ({ at: atOf(event), text: describe(event, violation) }))
    .sort((a, b) => a.at - b.at)
  const lines = shown.map(({ at, text }) => `${(at - zero).toFixed(1).padStart(10)} ms  ${text}`)
  const title = `invariant ${violation.invariant}, ${violation.rule}: ${violation.what}`
  return [title, ...lines].join('\n')
}

/** A job's own story is short and told from its beginning; everything else only near the violation. */
function isOf(
  { jobId, executorId, term }: Violation,
  event: HistoryEvent,
  isNear: boolean,
): boolean {
  if (event.type === 'fault' || event.type === 'replica' || event.type === 'drained') return isNear
  if (event.type === 'commit') {
    const led = event.changes.find(({ table }) => table === 'leader')
    if (led && (isNear || Number(led.row.term) === term)) return true
    if (jobId !== undefined) return event.changes.some((change) => isOfJob(change, jobId))
    if (executorId === undefined || !isNear) return false
    return event.changes.some(({ row }) => row.executor_id === executorId)
  }
  if (event.type === 'acted') return event.jobId === jobId
  if (event.type !== 'invoke' && event.type !== 'answer') return false
  if (jobId !== undefined) return isNear && JSON.stringify(event.body ?? '').includes(jobId)
  if (executorId === undefined || !isNear || event.type !== 'invoke') return false
  const isRegistration = toRecord(event.body).executor_id === executorId
  return isRegistration || event.path.startsWith(`/v1/executors/${executorId}/`)
}

/** Progress tells nothing of ownership, and comes with every heartbeat. */
function isOfJob({ table, row }: Change, jobId: string): boolean {
  return table !== 'progress' && (row.id === jobId || row.job_id === jobId)
}

function describe(event: HistoryEvent, violation: Violation): string {
  switch (event.type) {
    case 'clock':
      return `clock: ${new Date(event.wall).toISOString()}`
    case 'replica':
      return `replica ${event.name} began at ${event.url}${event.server ? ` (server ${event.server})` : ''} as ${event.replicaId}`
    case 'invoke':
      return `${event.op} ${event.actor} asks ${event.url}: ${event.method} ${event.path} ${brief(event.body)}`
    case 'answer':
      return `${event.op} answered ${event.status}${event.servedBy ? ` by ${event.servedBy}` : ''} ${brief(event.body)}`
    case 'lost':
      return `${event.op} lost: ${event.why}${event.wasSent ? '' : ' (never sent)'}`
    case 'gave_up':
      return `${event.actor} was told that ${event.key} failed`
    case 'acted':
      return `${event.actor} ACTS for job ${event.jobId}, fence ${event.fence}: ${event.key}, token ${event.token}`
    case 'fault':
      return `fault ${event.phase}: ${event.fault} on ${event.target}`
    case 'drained':
      return 'drained'
    case 'commit':
      return describeCommit(event, violation)
  }
}

function describeCommit({ order, writer, changes }: CommitEvent, { jobId }: Violation): string {
  const by = writer ? `term ${writer.term} of ${writer.replicaId}` : 'no term'
  const told = changes.filter(
    (change) => jobId === undefined || change.table === 'leader' || isOfJob(change, jobId),
  )
  const texts = told.map(({ table, kind, row }) => {
    const columns = Object.entries(row).filter(([, value]) => value !== null)
    return `${kind} ${table} ${columns.map(([name, value]) => `${name}=${value}`).join(' ')}`
  })
  return `commit ${order} by ${by}: ${brief(texts.join('; '))}`
}

function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return text.length > 600 ? `${text.slice(0, 600)}…` : text
}
