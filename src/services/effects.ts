import { limits } from '../contract/common.ts'
import type {
  Effect,
  EffectAbort,
  EffectBegin,
  EffectBegun,
  EffectCommit,
  EffectList,
  EffectListQuery,
  EffectResolve,
} from '../contract/effects.ts'
import { isInProgress } from '../domain/effect.ts'
import type { LeaseEnd } from '../domain/lease.ts'
import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'
import type { Doors } from '../sql/doors.ts'
import {
  type Begun,
  type EffectKey,
  type EffectRow,
  findEffect,
  listEffects,
  listLateEffects,
  resolveEffectIfOpen,
  resumeIfWaiting,
  type Settlement,
} from '../sql/effects.ts'
import { lockJobs } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { type Actor, audit } from './audit.ts'
import type { ExecutorActs } from './executor-acts.ts'
import type { Jobs, Reader } from './jobs.ts'
import { toBoundedJson } from './json.ts'
import { judgeHolder, knownJobId, type Standing } from './lease-calls.ts'
import type { LeaseEnds } from './lease-ends.ts'
import { begin, type Decided, inProgress, noEffect, settle, settled } from './ledger.ts'
import type { Offers } from './offers.ts'
import { refuseIfRetried } from './retries.ts'
import { requireServing } from './serving.ts'

export interface EffectsOptions {
  acts: ExecutorActs
  /** For what clients ask for. */
  clientDb: Queryable
  doors: Doors
  gate: Gate
  jobs: Jobs
  leaseEnds: LeaseEnds
  offers: Offers
  leaseTtlMs: number
  /** A job that waited for an operator can be claimed again. */
  onResumed(classId: number): void
}

/** The ledger of irreversible acts (invariant 5). Each call of an executor is judged under its job's row lock,
 *  against the current (executor, epoch, fence), and renews the lease. */
export class Effects {
  readonly #o: EffectsOptions

  constructor(options: EffectsOptions) {
    this.#o = options
  }

  /** Throws not_found, stale_epoch, stale_fence, cancel_requested, effect_in_progress and effect_settled. */
  async begin(target: EffectKey, body: EffectBegin): Promise<EffectBegun> {
    const term = requireServing(this.#o.gate)
    const { job_id, key } = known(target)
    const ends: LeaseEnd[] = []
    const answer = await this.#o.acts.run(term, async (tx) => {
      ends.length = 0
      const lease = { ...body, job_id }
      const standing = await this.#judge(tx, term, lease)
      return await begin(tx, key, lease, { onDoubt: body.on_doubt, standing, ends })
    })
    this.#o.leaseEnds.announce(ends)
    return orThrow(answer)
  }

  /** The same again is answered as the first. Throws as begin does. */
  async commit(target: EffectKey, body: EffectCommit): Promise<Effect> {
    return await this.#settle(target, body, { state: 'committed', result: resultOf(body.result) })
  }

  async abort(target: EffectKey, body: EffectAbort): Promise<Effect> {
    return await this.#settle(target, body, { state: 'aborted', result: null })
  }

  /** An operator says how it was. Throws effect_settled if that is known, effect_in_progress while its
   *  executor may still say so itself, job_retried where another job has the ledger now. */
  async resolve(
    actor: Actor,
    reader: Reader,
    target: EffectKey,
    { outcome, result, note }: EffectResolve,
  ): Promise<Effect> {
    const { doors, jobs, onResumed } = this.#o
    const { job_id, key } = known(target)
    await jobs.get(job_id, reader)
    const settlement = { state: outcome, result: result === undefined ? null : resultOf(result) }
    const { effect, resumed } = await doors.asClient(async (tx) => {
      const [job] = await lockJobs(tx, [job_id])
      const before = await findEffect(tx, { job_id, key })
      if (!before) throw noEffect(target)
      if (job?.state === 'leased' && isInProgress(before, job.fence)) throw inProgress(key)
      const effect = await resolveEffectIfOpen(tx, { job_id, key }, settlement)
      if (!effect) {
        // Its answer got lost.
        if (before.state === outcome) return { effect: before, resumed: undefined }
        throw settled(key, before)
      }
      await refuseIfRetried(tx, job_id)
      const facts = { outcome, was_held: before.holds }
      const subject = `${job_id} ${key}`
      await audit(tx, actor, { action: 'effect.resolve', subject, reason: note, facts })
      return { effect, resumed: before.holds ? await resumeIfWaiting(tx, job_id) : undefined }
    })
    if (resumed) onResumed(resumed.class_id)
    return toEffect(effect)
  }

  /** The ledger of a job, by key. */
  async list(
    jobId: string,
    reader: Reader,
    { cursor, limit }: EffectListQuery,
  ): Promise<EffectList> {
    const { clientDb, jobs } = this.#o
    await jobs.get(jobId, reader)
    const page = await listEffects(clientDb, jobId, { after: cursor ?? '', limit })
    const keys = page.map(({ key }) => key)
    const last = keys.at(-1)
    const more =
      last === undefined ? [] : await listEffects(clientDb, jobId, { after: last, limit: 1 })
    return {
      effects: page.map(toEffect),
      late_effects: await listLateEffects(clientDb, jobId, keys),
      next_cursor: more.length > 0 && last !== undefined ? last : null,
    }
  }

  async #settle(target: EffectKey, body: EffectAbort, settlement: Settlement): Promise<Effect> {
    const term = requireServing(this.#o.gate)
    const { job_id, key } = known(target)
    const answer = await this.#o.acts.run(term, async (tx) => {
      const lease = { ...body, job_id }
      const { refusal } = await this.#judge(tx, term, lease)
      return await settle(tx, key, lease, settlement, refusal)
    })
    return toEffect(orThrow(answer))
  }

  #judge(tx: Queryable, { number: term }: Term, lease: Begun): Promise<Standing> {
    const { leaseTtlMs, offers } = this.#o
    return judgeHolder(tx, lease, { term, leaseTtlMs }, offers)
  }
}

function known({ job_id, key }: EffectKey): EffectKey {
  return { job_id: knownJobId(job_id), key }
}

function resultOf(result: unknown): string {
  return toBoundedJson(result ?? null, 'result', limits.resultBytes)
}

function orThrow<T>(decided: Decided<T>): T {
  if (decided instanceof AppError) throw decided
  return decided
}

function toEffect(row: EffectRow): Effect {
  const {
    doubt_begin_id: _1,
    doubt_fence: _2,
    settled_begin_id: _3,
    settled_fence: _4,
    ...effect
  } = row
  return effect
}
