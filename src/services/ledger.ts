import { limits } from '../contract/common.ts'
import type { EffectBegun } from '../contract/effects.ts'
import { hasSettled, judgeBegin, maySettle, wasTold } from '../domain/effect.ts'
import { endByDoubt, type LeaseEnd } from '../domain/lease.ts'
import { AppError } from '../errors.ts'
import {
  type Begun,
  beginEffectUnlessCommitted,
  countEffects,
  type EffectKey,
  type EffectRow,
  findEffect,
  hasHeldOnce,
  recordDoubtIfUnsettled,
  recordLateWordIfHeldOnce,
  type Settlement,
  settleEffectIfBegun,
} from '../sql/effects.ts'
import { endLeasesIfFenced } from '../sql/leases.ts'
import type { Queryable } from '../sql/pool.ts'
import { beingCancelled, type Standing } from './lease-calls.ts'

/** What the holder of a job asks of its ledger, decided and written under the job's row lock (invariant 5).
 *  A caller who does not hold it is refused: then only what it was told before is said again, and what it says is
 *  kept as evidence. */

/** What a transaction came to: an answer or a refusal, either of which is to be committed first. */
export type Decided<T> = T | AppError

interface Asked {
  onDoubt: string
  standing: Standing
  /** Taken up: the lease that ends by this begin. */
  ends: LeaseEnd[]
}

/** Judges a begin, and writes what follows from it. */
export async function begin(
  tx: Queryable,
  key: string,
  lease: Begun,
  { onDoubt, standing, ends }: Asked,
): Promise<Decided<EffectBegun>> {
  const effect = await findEffect(tx, { job_id: lease.job_id, key })
  if (standing.refusal) {
    // The job was taken away by this very begin, and the answer got lost.
    const isTold = effect?.holds === true && wasTold(effect, lease)
    return isTold && (await hasHeldOnce(tx, lease))
      ? answerOf(effect, 'in_doubt')
      : standing.refusal
  }
  const verdict = judgeBegin(effect, lease)
  // What was answered before is answered again: it may have been done by now.
  const isRepeated = 'write' in verdict && verdict.write === 'nothing'
  if (standing.isCancelled && !isRepeated) return beingCancelled()
  switch (verdict.outcome) {
    case 'effect_in_progress':
      return inProgress(key)
    case 'effect_settled':
      return settled(key, effect)
    case 'committed':
      return answerOf(effect, 'committed')
    case 'proceed':
      if (verdict.write === 'nothing') return answerOf(effect, 'proceed')
      if (!effect && (await countEffects(tx, lease.job_id)) >= limits.effects) {
        return new AppError('invalid_request', `a job has at most ${limits.effects} effects`)
      }
      return answerOf(await beginEffectUnlessCommitted(tx, key, lease, onDoubt), 'proceed')
    case 'in_doubt': {
      if (verdict.write === 'nothing') return answerOf(effect, 'in_doubt')
      const end = verdict.write === 'hold' ? endByDoubt(standing.job, key) : undefined
      // A job that is cancelled by it waits for no operator.
      const told = await recordDoubtIfUnsettled(tx, key, lease, end?.to === 'waiting')
      if (end) ends.push(await takeAway(tx, end))
      return answerOf(told, 'in_doubt')
    }
  }
}

/** Judges a commit or an abort, and writes it, or keeps it as evidence. */
export async function settle(
  tx: Queryable,
  key: string,
  lease: Begun,
  settlement: Settlement,
  refusal: AppError | undefined,
): Promise<Decided<EffectRow>> {
  const effect = await findEffect(tx, { job_id: lease.job_id, key })
  if (!effect) return refusal ?? noEffect({ job_id: lease.job_id, key })
  // Its answer got lost; who has lost the job since has settled it all the same.
  const isSettled = hasSettled(effect, lease, settlement.state)
  if (isSettled && (!refusal || (await hasHeldOnce(tx, lease)))) return effect
  if (refusal) {
    await recordLateWordIfHeldOnce(tx, key, lease, settlement)
    return refusal
  }
  if (!maySettle(effect, lease)) {
    const isKnown = effect.state === 'committed' || effect.state === 'aborted'
    return isKnown ? settled(key, effect) : inProgress(key)
  }
  return mustBe(await settleEffectIfBegun(tx, key, lease, settlement), key)
}

/** From its executor: an operator decides how it goes on. */
async function takeAway(tx: Queryable, end: LeaseEnd): Promise<LeaseEnd> {
  await endLeasesIfFenced(tx, [end])
  return end
}

/** What was judged under the row lock is so: a miss is a fault of ours, and nothing may commit. */
function mustBe(effect: EffectRow | undefined, key = ''): EffectRow {
  if (!effect) throw new Error(`effect ${key} changed under its job's lock`)
  return effect
}

function answerOf(effect: EffectRow | undefined, outcome: EffectBegun['outcome']): EffectBegun {
  const { effect_token, on_doubt, result } = mustBe(effect)
  return { outcome, effect_token, on_doubt, result: outcome === 'committed' ? result : null }
}

export function noEffect({ job_id, key }: EffectKey): AppError {
  return new AppError('not_found', `job ${job_id} has no effect ${key}`)
}

export function inProgress(key: string): AppError {
  return new AppError('effect_in_progress', `${key}: its executor may be doing it just now`)
}

export function settled(key: string, effect: EffectRow | undefined): AppError {
  return new AppError('effect_settled', `${key}: it is known to be ${effect?.state}`)
}
