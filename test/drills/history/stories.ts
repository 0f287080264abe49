import type {
  AnswerEvent,
  Change,
  CommitEvent,
  FaultEvent,
  HistoryEvent,
  InvokeEvent,
} from './events.ts'

/** Histories made by hand: a small world that does what the control plane does, so that a lawful story is
 *  told in one line a step. Each step returns its events; a bad history is a good one with one of them changed. */

type Row = Change['row']

export interface Told {
  asked: InvokeEvent
  answered: AnswerEvent
  /** What was written; refusals and replays write nothing. */
  commit: CommitEvent
}

export const heartbeatMs = 500
export const leaseTtlMs = 3_000
const epochStart = Date.UTC(2024, 0, 1)
const unowned = { executor_id: null, epoch: null, lease_expires_at: null }

/** Text of a row's column, for changing what was committed. */
export function rowOf(commit: CommitEvent, table: string): Row {
  const change = commit.changes.find((one) => one.table === table)
  if (!change) throw new Error(`commit ${commit.order} changes no row of ${table}`)
  return change.row
}

export class Story {
  readonly events: HistoryEvent[] = []
  /** Where requests go, and how long one takes. */
  url = 'http://balancer'
  actor = 'fleet-1'
  /** What the balancer says of its answers. */
  servedBy: string | undefined
  #now = 0
  #orders = 0
  #ops = 0
  #leader: { term: number; replicaId: string } | undefined
  readonly #jobs = new Map<string, Row>()
  readonly #epochs = new Map<string, number>()

  constructor() {
    this.events.push({ type: 'clock', at: 0, wall: epochStart })
  }

  wait(ms: number): void {
    this.#now += ms
    this.events.push({ type: 'clock', at: this.#now, wall: epochStart + this.#now })
  }

  replica(
    name: string,
    { url = `http://${name}`, server }: { url?: string; server?: string } = {},
  ) {
    const place = { url, ...(server === undefined ? {} : { server }) }
    this.events.push({ type: 'replica', at: this.#now, name, replicaId: `${name}-id`, ...place })
  }

  fault(fault: string, target: string, phase: FaultEvent['phase'] = 'start'): FaultEvent {
    const event: FaultEvent = { type: 'fault', at: this.#now, fault, target, phase }
    this.events.push(event)
    return event
  }

  promote(name: string): { promotion: CommitEvent; recovery: CommitEvent } {
    this.wait(20)
    const term = (this.#leader?.term ?? 0) + 1
    const replicaId = `${name}-id`
    const own = { term: String(term), replica_id: replicaId }
    const promotion = this.#commit(
      [
        { table: 'leader', kind: term === 1 ? 'insert' : 'update', row: { ...own } },
        { table: 'terms', kind: 'insert', row: { ...own, recovery: '[]' } },
      ],
      false,
    )
    this.#leader = { term, replicaId }
    this.wait(30)
    const recovery = this.#commit([
      { table: 'terms', kind: 'update', row: { ...own, recovery: '[{"phase": "verify"}]' } },
    ])
    return { promotion, recovery }
  }

  submit(id: string, item: { queue?: string; kind?: string; key?: string } = {}): Told {
    const { queue = 'default', kind = 'work', key } = item
    const body = { kind, queue, ...(key === undefined ? {} : { idempotency_key: key }) }
    const asked = this.ask('/v1/jobs', body)
    const commit = this.#commit(
      [{ table: 'jobs', kind: 'insert', row: this.#newJob(id, item) }],
      false,
    )
    return { asked, commit, answered: this.answer(asked, 201, { job: { id } }) }
  }

  /** The same once more: there is nothing to write. */
  replay({ asked, answered }: Told): AnswerEvent {
    const again = this.ask(asked.path, asked.body)
    return this.answer(again, 200, { ...(answered.body as object), replayed: true })
  }

  submitBatch(ids: string[]): Told {
    const asked = this.ask('/v1/jobs/batch', { jobs: ids.map(() => ({ kind: 'work' })) })
    const rows = ids.map((id) => this.#newJob(id, {}))
    const commit = this.#commit(
      rows.map((row) => ({ table: 'jobs', kind: 'insert', row })),
      false,
    )
    const results = ids.map((id) => ({ id, created: true }))
    return { asked, commit, answered: this.answer(asked, 200, { results }) }
  }

  /** What the executor held before is lost with its older epoch. */
  register(executorId: string): Told {
    const asked = this.ask('/v1/executors/register', { executor_id: executorId })
    const epoch = (this.#epochs.get(executorId) ?? 0) + 1
    this.#epochs.set(executorId, epoch)
    const held = [...this.#jobs.values()].filter((job) => job.executor_id === executorId)
    const ends = held.flatMap((job) => this.#end(job.id ?? '', 'lost'))
    const row = { executor_id: executorId, epoch: String(epoch) }
    const kind = epoch === 1 ? 'insert' : 'update'
    const commit = this.#commit([...ends, { table: 'executors', kind, row }])
    const body = { executor_id: executorId, epoch }
    const timings = { heartbeat_ms: heartbeatMs, lease_ttl_ms: leaseTtlMs }
    return { asked, commit, answered: this.answer(asked, 201, { ...body, ...timings }) }
  }

  /** A poll that is answered with this job. */
  claim(executorId: string, id: string): Told {
    const asked = this.ask(`/v1/executors/${executorId}/poll`, this.#as(executorId, { max: 1 }))
    const commit = this.lease(executorId, id)
    const assignments = [{ job_id: id, fence: this.fenceOf(id) }]
    return { asked, commit, answered: this.answer(asked, 200, { assignments }) }
  }

  /** The claim alone. */
  lease(executorId: string, id: string): CommitEvent {
    const job = this.#job(id)
    const given = {
      state: 'leased',
      fence: String(Number(job.fence) + 1),
      attempt: String(Number(job.attempt) + 1),
      executor_id: executorId,
      epoch: String(this.epochOf(executorId)),
      lease_expires_at: this.instant(leaseTtlMs),
    }
    return this.#commit([this.#update(id, given)])
  }

  /** A heartbeat that lists these, and is answered that they are held. */
  beat(executorId: string, ids: string[]): Told {
    const held = ids.map((id) => ({ job_id: id, fence: this.fenceOf(id) }))
    const asked = this.askToBeat(executorId, held)
    const renewals = ids.map((id) =>
      this.#update(id, { lease_expires_at: this.instant(leaseTtlMs) }),
    )
    const row = { executor_id: executorId, epoch: String(this.epochOf(executorId)) }
    const commit = this.#commit([...renewals, { table: 'executors', kind: 'update', row }])
    const body = { term: this.#leader?.term, held, revoked: [] }
    return { asked, commit, answered: this.answer(asked, 200, body) }
  }

  askToBeat(executorId: string, assignments: { job_id: string; fence: number }[]): InvokeEvent {
    return this.ask(`/v1/executors/${executorId}/heartbeat`, this.#as(executorId, { assignments }))
  }

  /** A report that is accepted. */
  report(executorId: string, id: string, outcome: string): Told {
    const asked = this.askToReport(executorId, id, this.fenceOf(id), outcome)
    const commit = this.#commit(this.#end(id, outcome))
    const results = [{ job_id: id, status: 'accepted', job_state: this.#job(id).state }]
    return { asked, commit, answered: this.answer(asked, 200, { results }) }
  }

  askToReport(executorId: string, id: string, fence: number, outcome: string): InvokeEvent {
    const reports = [{ job_id: id, fence, outcome }]
    return this.ask(`/v1/executors/${executorId}/report`, this.#as(executorId, { reports }))
  }

  /** A lease is taken back: `lost` or `undelivered`. */
  takeBack(id: string, outcome: string): CommitEvent {
    return this.#commit(this.#end(id, outcome))
  }

  drained(): void {
    this.wait(100)
    this.events.push({ type: 'drained', at: this.#now })
  }

  ask(path: string, body: unknown): InvokeEvent {
    this.#now += 5
    this.#ops += 1
    const { url, actor } = this
    const op = `op-${this.#ops}`
    const request = { op, actor, method: 'POST', url, path, body }
    const event: InvokeEvent = { type: 'invoke', at: this.#now, ...request }
    this.events.push(event)
    this.#now += 1
    return event
  }

  answer({ op }: InvokeEvent, status: number, body: unknown): AnswerEvent {
    const by = this.servedBy === undefined ? {} : { servedBy: this.servedBy }
    const event = { type: 'answer', at: this.tick(), op, status, ...by, body } as const
    this.events.push(event)
    return event
  }

  lose({ op }: InvokeEvent, wasSent = true): void {
    this.events.push({ type: 'lost', at: this.tick(), op, why: 'reset', wasSent })
  }

  fenceOf(id: string): number {
    return Number(this.#job(id).fence)
  }

  epochOf(executorId: string): number {
    return this.#epochs.get(executorId) ?? 0
  }

  /** A moment passes. */
  tick(): number {
    this.#now += 1
    return this.#now
  }

  /** Now, as Postgres prints it; or so much later. */
  instant(inMs = 0): string {
    const at = new Date(epochStart + this.#now + inMs).toISOString()
    return at.replace('T', ' ').replace('Z', '+00')
  }

  /** How a job's row stands from here on. */
  remember(id: string, row: Row): void {
    this.#jobs.set(id, { ...this.#job(id), ...row })
  }

  /** Any other commit of the leader in force. */
  write(changes: Change[]): CommitEvent {
    return this.#commit(changes)
  }

  #job(id: string): Row {
    const job = this.#jobs.get(id)
    if (!job) throw new Error(`the story has no job ${id}`)
    return job
  }

  #as(executorId: string, body: object) {
    return { epoch: this.epochOf(executorId), ...body }
  }

  #newJob(
    id: string,
    { queue = 'default', kind = 'work', key }: { queue?: string; kind?: string; key?: string },
  ) {
    const counts = { fence: '0', attempt: '0', max_attempts: '5', lost_leases: '0' }
    const row = { id, queue, kind, state: 'available', ...counts, ...unowned }
    this.#jobs.set(id, { ...row, idempotency_key: key ?? null })
    return { ...this.#job(id) }
  }

  #update(id: string, changed: Row): Change {
    this.#jobs.set(id, { ...this.#job(id), ...changed })
    return { table: 'jobs', kind: 'update', row: { ...this.#job(id) } }
  }

  #end(id: string, outcome: string): Change[] {
    const { fence, attempt, executor_id, epoch, lost_leases } = this.#job(id)
    const isTaken = outcome === 'lost' || outcome === 'undelivered'
    const isFinal = ['succeeded', 'failed', 'cancelled'].includes(outcome)
    const change = this.#update(id, {
      state: isFinal ? outcome : 'available',
      fence: String(Number(fence) + (isTaken ? 1 : 0)),
      attempt: String(Number(attempt) - (isFinal ? 0 : 1)),
      lost_leases: String(Number(lost_leases) + (outcome === 'lost' ? 1 : 0)),
      ...unowned,
    })
    const row = { job_id: id, fence, attempt, executor_id, epoch, outcome } as Row
    return [change, { table: 'attempts', kind: 'insert', row }]
  }

  #commit(changes: Change[], isLeaders = true): CommitEvent {
    this.#now += 1
    this.#orders += 1
    const place = { order: this.#orders, xid: 700 + this.#orders }
    const committedAt = epochStart + this.#now
    const writer = isLeaders && this.#leader ? { writer: { ...this.#leader } } : {}
    const event: CommitEvent = { type: 'commit', ...place, committedAt, ...writer, changes }
    this.events.push(event)
    return event
  }
}
