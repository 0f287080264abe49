import type { AnswerEvent, HistoryEvent, InvokeEvent, LostEvent } from './events.ts'
import { askOfJob, type EffectVerb } from './job-asks.ts'

/** One request of a history, as the checker reads it. */
export interface Op {
  invoke: InvokeEvent
  answer: AnswerEvent | undefined
  lost: LostEvent | undefined
  ask: Ask
}

export interface SubmitItem {
  queue: string
  kind: string
  key: string | undefined
}

export interface Held {
  jobId: string
  fence: number
}

/** A lease, as its executor names it. */
type Owned = Held & { executorId: string; epoch: number }

/** What was asked for; `other` is nothing that an invariant speaks of. */
export type Ask =
  | { kind: 'submit'; items: SubmitItem[] }
  | { kind: 'register'; executorId: string }
  | { kind: 'heartbeat'; executorId: string; epoch: number; listed: Held[] }
  | { kind: 'poll'; executorId: string; epoch: number }
  | { kind: 'report'; executorId: string; epoch: number; items: (Held & { outcome: string })[] }
  /** undefined: jobs that a filter names. */
  | { kind: 'cancel'; jobId: string | undefined }
  | { kind: 'retry'; jobId: string | undefined }
  | { kind: 'transition'; jobId: string; to: string }
  | (Owned & { kind: 'critical'; enter: boolean })
  /** `outcome` is what an operator says. */
  | (Owned & { kind: 'effect'; verb: EffectVerb; key: string; beginId: string; outcome: string })
  | { kind: 'other' }

export type OpOf<Kind extends Ask['kind']> = Op & { ask: Extract<Ask, { kind: Kind }> }

/** The requests of a history, each with what became of it, in the order of asking. */
export function joinOps(events: HistoryEvent[]): Op[] {
  const ops = new Map<string, Op>()
  for (const event of events) {
    if (event.type !== 'invoke') continue
    if (ops.has(event.op)) throw new Error(`two requests are called ${event.op}`)
    ops.set(event.op, { invoke: event, answer: undefined, lost: undefined, ask: askOf(event) })
  }
  for (const event of events) {
    if (event.type !== 'answer' && event.type !== 'lost') continue
    const op = ops.get(event.op)
    // Its line may have been cut short by a kill; without it nobody knows what was asked.
    if (!op) continue
    if (event.type === 'answer') op.answer = event
    else op.lost = event
  }
  return [...ops.values()].sort((a, b) => a.invoke.at - b.invoke.at)
}

export function isKind<Kind extends Ask['kind']>(op: Op, kind: Kind): op is OpOf<Kind> {
  return op.ask.kind === kind
}

/** Done: answered 2xx. Refused: certainly not carried out. Otherwise nobody knows. */
export function fateOf({ ask, answer, lost }: Op): 'done' | 'refused' | 'unknown' {
  if (!answer) return lost?.wasSent === false ? 'refused' : 'unknown'
  const { status, body, servedBy } = answer
  if (status >= 200 && status < 300) return 'done'
  if (status >= 400 && status < 500) return 'refused'
  const { code } = toRecord(body)
  // A balancer repeats what one replica answered 503, and tells the last answer only.
  if (servedBy !== undefined) return 'unknown'
  // Of a report of several, some may have been committed before the rest is refused.
  if (ask.kind === 'report' && ask.items.length > 1 && code !== 'overloaded') return 'unknown'
  // A gate's 503 has a code of ours; a balancer's has none, and may come after the request went through.
  return status === 503 && typeof code === 'string' && code !== 'database_unavailable'
    ? 'refused'
    : 'unknown'
}

export type Done<Kind extends Ask['kind']> = OpOf<Kind> & { answer: AnswerEvent }

/** The requests of a kind that were answered 2xx. */
export function doneOps<Kind extends Ask['kind']>(ops: Op[], kind: Kind): Done<Kind>[] {
  return ops.filter((op): op is Done<Kind> => isKind(op, kind) && fateOf(op) === 'done')
}

const executorPath = /^\/v1\/executors\/([^/]+)\/(heartbeat|poll|report)$/

export function askOf({ method, path, body }: InvokeEvent): Ask {
  const route = path.split('?')[0] ?? ''
  if (method !== 'POST') return { kind: 'other' }
  const fields = toRecord(body)
  if (route === '/v1/jobs') return { kind: 'submit', items: [toSubmit(fields)] }
  if (route === '/v1/jobs/batch') {
    return { kind: 'submit', items: listOf(body, 'jobs').map(toSubmit) }
  }
  const ofJob = askOfJob(route, fields)
  if (ofJob) return ofJob
  if (route === '/v1/executors/register') {
    return { kind: 'register', executorId: String(fields.executor_id) }
  }
  const [, id, verb] = executorPath.exec(route) ?? []
  if (!id) return { kind: 'other' }
  const owner = { executorId: decodeURIComponent(id), epoch: Number(fields.epoch) }
  if (verb === 'poll') return { kind: 'poll', ...owner }
  if (verb === 'heartbeat') {
    return { kind: 'heartbeat', ...owner, listed: listOf(body, 'assignments').map(toHeld) }
  }
  const items = listOf(body, 'reports').map((item) => {
    return { ...toHeld(item), outcome: String(item.outcome) }
  })
  return { kind: 'report', ...owner, items }
}

/** The jobs that a submit was answered with, in the order of its items. */
export function placedBy(op: OpOf<'submit'>): { id: string; created: boolean }[] {
  const body = op.answer?.body
  const { job } = toRecord(body)
  const { id } = toRecord(job)
  if (typeof id === 'string') return [{ id, created: op.answer?.status === 201 }]
  return listOf(body, 'results').map((item) => {
    return { id: String(item.id), created: item.created === true }
  })
}

export function registeredBy(op: OpOf<'register'>) {
  const body = toRecord(op.answer?.body)
  return {
    epoch: Number(body.epoch),
    heartbeatMs: Number(body.heartbeat_ms),
    leaseTtlMs: Number(body.lease_ttl_ms),
  }
}

export function assignedBy(op: OpOf<'poll'>): Held[] {
  return listOf(op.answer?.body, 'assignments').map(toHeld)
}

/** As a begin was told; undefined: it was not answered so. */
export function begunBy(op: OpOf<'effect'>): { outcome: string; token: string } | undefined {
  const { outcome, effect_token } = toRecord(op.answer?.body)
  if (typeof outcome !== 'string') return undefined
  return { outcome, token: String(effect_token) }
}

export function heldBy(op: OpOf<'heartbeat'>, list: 'held' | 'revoked' | 'cancel'): Held[] {
  return listOf(op.answer?.body, list).map(toHeld)
}

export function termNamedBy(op: OpOf<'heartbeat'>): number {
  return Number(toRecord(op.answer?.body).term)
}

/** Each item of a report, with the verdict on it. */
export function* verdictsOf(op: OpOf<'report'>) {
  const results = listOf(op.answer?.body, 'results')
  for (const [index, item] of op.ask.items.entries()) {
    yield { ...item, status: String(results[index]?.status) }
  }
}

export function toRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function listOf(body: unknown, name: string): Record<string, unknown>[] {
  const list = toRecord(body)[name]
  return Array.isArray(list) ? list.map(toRecord) : []
}

/** Executors may write ids in capitals; the database does not. */
function toHeld(item: Record<string, unknown>): Held {
  return { jobId: String(item.job_id).toLowerCase(), fence: Number(item.fence) }
}

function toSubmit({ queue, kind, idempotency_key }: Record<string, unknown>): SubmitItem {
  return {
    queue: typeof queue === 'string' ? queue : 'default',
    kind: String(kind),
    key: typeof idempotency_key === 'string' ? idempotency_key : undefined,
  }
}
