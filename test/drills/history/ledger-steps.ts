import type { ActedEvent, AnswerEvent, Change, CommitEvent, InvokeEvent } from './events.ts'
import { leaseTtlMs, rowOf, type Story, type Told } from './stories.ts'

/** What stories tell of effects, cancels and stages, one line a step as those of `Story`. */

type Row = Change['row']

/** One act of one job, on its way through the ledger. */
export class Act {
  readonly s: Story
  jobId: string
  readonly key: string
  readonly #row: Row
  #begins = 0

  constructor(s: Story, jobId: string, onDoubt = 'hold', key = 'deploy') {
    this.s = s
    this.jobId = jobId
    this.key = key
    const token = `token of ${jobId}`
    this.#row = { job_id: jobId, key, on_doubt: onDoubt, effect_token: token, holds: 'f' }
  }

  /** Told to proceed. */
  begin(executorId: string): Told {
    const asked = this.askToBegin(executorId)
    const commit = this.s.write([this.update({ ...this.#by(asked), state: 'begun' })])
    return { asked, commit, answered: this.answer(asked, 'proceed') }
  }

  /** Told that it is committed, or in doubt and to be reconciled. */
  ask(executorId: string, outcome: 'committed' | 'in_doubt'): Told {
    const asked = this.askToBegin(executorId)
    const { begin_id, fence } = this.#by(asked)
    const doubt = { doubt_begin_id: begin_id, doubt_fence: fence } as Row
    const isWritten = outcome === 'in_doubt'
    const commit = this.s.write(isWritten ? [this.update(doubt)] : [])
    return { asked, commit, answered: this.answer(asked, outcome) }
  }

  askToBegin(executorId: string): InvokeEvent {
    this.#begins += 1
    const begin_id = `begin ${this.#begins} of ${this.jobId}`
    return this.s.ask(this.#path('begin'), { ...this.#lease(executorId), begin_id })
  }

  answer(asked: InvokeEvent, outcome: string): AnswerEvent {
    return this.s.answer(asked, 200, { outcome, effect_token: this.#row.effect_token })
  }

  /** It is done outside. */
  do(): ActedEvent {
    const { s, jobId, key } = this
    const token = String(this.#row.effect_token)
    const event: ActedEvent = {
      ...{ type: 'acted', at: s.tick(), actor: s.actor, jobId, key, token },
      fence: s.fenceOf(jobId),
    }
    s.events.push(event)
    return event
  }

  /** By whoever was answered last. */
  settle(executorId: string, verb: 'commit' | 'abort'): Told {
    const begin_id = `begin ${this.#begins} of ${this.jobId}`
    const asked = this.s.ask(this.#path(verb), { ...this.#lease(executorId), begin_id })
    const state = verb === 'commit' ? 'committed' : 'aborted'
    const commit = this.s.write([this.update({ state, settled_begin_id: begin_id })])
    return { asked, commit, answered: this.s.answer(asked, 200, { effect: { state } }) }
  }

  /** An operator says how it was, and the job can go on. */
  resolve(outcome: 'committed' | 'aborted'): Told {
    const asked = this.s.ask(this.#path('resolve'), { outcome, note: 'looked' })
    const commit = this.s.write([this.update({ state: outcome, settled_begin_id: null })])
    delete commit.writer
    return { asked, commit, answered: this.s.answer(asked, 200, { effect: { state: outcome } }) }
  }

  /** Its lease runs out. */
  lose(): CommitEvent {
    this.s.wait(3_100)
    const commit = this.s.takeBack(this.jobId, 'lost')
    commit.changes.push(this.update({ state: 'in_doubt' }))
    return commit
  }

  /** The job is taken from who asks, and waits for an operator. */
  hold(executorId: string): Told {
    const asked = this.askToBegin(executorId)
    const { begin_id, fence } = this.#by(asked)
    const commit = this.s.takeBack(this.jobId, 'undelivered')
    rowOf(commit, 'attempts').outcome = 'released'
    Object.assign(rowOf(commit, 'jobs'), { state: 'waiting', waiting_for: 'effect' })
    const doubt = { doubt_begin_id: begin_id, doubt_fence: fence, holds: 't' } as Row
    commit.changes.push(this.update({ ...doubt, state: 'in_doubt' }))
    // Each call of its owner renews the lease first.
    const renewed = { id: this.jobId, lease_expires_at: this.s.instant(leaseTtlMs) }
    commit.changes.unshift({ table: 'jobs', kind: 'update', row: renewed })
    return { asked, commit, answered: this.answer(asked, 'in_doubt') }
  }

  /** The job that retries this one has the ledger from the beginning. */
  inherit(retry: CommitEvent, jobId: string): void {
    this.jobId = jobId
    const change = this.update({ job_id: jobId, fence: '0' })
    retry.changes.push({ ...change, kind: 'insert' })
  }

  update(changed: Row): Change {
    Object.assign(this.#row, changed)
    return { table: 'effects', kind: 'update', row: { ...this.#row } }
  }

  #by({ body }: InvokeEvent): Row {
    const { begin_id, fence, executor_id, epoch } = body as Record<string, unknown>
    return {
      begin_id: String(begin_id),
      fence: String(fence),
      executor_id: String(executor_id),
      epoch: String(epoch),
    }
  }

  #lease(executorId: string) {
    return leaseOf(this.s, executorId, this.jobId)
  }

  #path(verb: string): string {
    return `/v1/jobs/${this.jobId}/effects/${this.key}/${verb}`
  }
}

function leaseOf(s: Story, executorId: string, jobId: string) {
  return { executor_id: executorId, epoch: s.epochOf(executorId), fence: s.fenceOf(jobId) }
}

/** A change of a job's row; columns that it leaves out stay. */
export function change(s: Story, jobId: string, row: Row): CommitEvent {
  return s.write([{ table: 'jobs', kind: 'update', row: { id: jobId, ...row } }])
}

/** A section begins; its ceiling is far. */
export function enter(s: Story, executorId: string, jobId: string): Told {
  const asked = s.ask(`/v1/jobs/${jobId}/critical`, {
    ...leaseOf(s, executorId, jobId),
    enter: true,
  })
  const commit = change(s, jobId, {
    critical_fence: String(s.fenceOf(jobId)),
    critical_entered_at: s.instant(),
    critical_ceiling_ms: '300000',
  })
  return { asked, commit, answered: s.answer(asked, 200, { critical_until: 'then', cancel: null }) }
}

export function leave(s: Story, executorId: string, jobId: string, reason?: string): Told {
  const asked = s.ask(`/v1/jobs/${jobId}/critical`, {
    ...leaseOf(s, executorId, jobId),
    enter: false,
  })
  const commit = change(s, jobId, { critical_fence: null })
  const cancel = reason === undefined ? null : { reason }
  return { asked, commit, answered: s.answer(asked, 200, { critical_until: null, cancel }) }
}

/** Somebody asks for the end of a job that is leased. */
export function cancel(s: Story, jobId: string): Told {
  const asked = s.ask(`/v1/jobs/${jobId}/cancel`, {})
  const commit = change(s, jobId, { cancel_requested_at: s.instant() })
  delete commit.writer
  return { asked, commit, answered: s.answer(asked, 200, { job: { id: jobId, state: 'leased' } }) }
}

/** A heartbeat that is answered with the cancel of the job that it lists. */
export function beatAndTell(s: Story, executorId: string, jobId: string): Told {
  const told = s.beat(executorId, [jobId])
  rowOf(told.commit, 'jobs').cancel_told_at = s.instant()
  const body = told.answered.body as Record<string, unknown>
  body.cancel = [{ job_id: jobId, fence: s.fenceOf(jobId), reason: '' }]
  return told
}

/** The success of a stage, which leads to the next. */
export function advance(s: Story, executorId: string, jobId: string, stage: string): Told {
  const told = s.report(executorId, jobId, 'succeeded')
  const row = rowOf(told.commit, 'jobs')
  Object.assign(row, { state: 'available', stage, move: '1', attempt: '0', lost_leases: '0' })
  s.remember(jobId, row)
  return told
}
