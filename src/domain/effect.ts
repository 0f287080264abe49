/**
 * The ledger of irreversible acts (invariant 5). Pure: a row that was read under its job's lock goes in, and what
 * to answer and to write comes out.
 *
 *   (none) ──begin──▶ begun ──commit──▶ committed
 *                       │ ├──abort───▶ aborted ──begin──▶ begun
 *                       │ └──the lease ends──▶ in_doubt
 *   in_doubt ──begin, on_doubt retry──▶ begun
 *   in_doubt ──commit or abort of who was told to reconcile, or resolve of an operator──▶ committed, aborted
 *
 * Guaranteed: committed is for good; nobody is told to proceed while the act may have been done, unless it was
 * declared safe to repeat. Not guaranteed: that who was told to proceed does it.
 */
export type EffectState = 'begun' | 'committed' | 'aborted' | 'in_doubt'
export type OnDoubt = 'retry' | 'reconcile' | 'hold'

export interface Effect {
  state: EffectState
  on_doubt: OnDoubt
  begin_id: string
  fence: number
  doubt_begin_id: string | null
  doubt_fence: number | null
  settled_begin_id: string | null
  settled_fence: number | null
}

/** One begin: its id, and the fence that its caller holds the job with. */
export interface Begin {
  begin_id: string
  fence: number
}

export type BeginVerdict =
  | { outcome: 'proceed'; write: 'begin' | 'nothing' }
  | { outcome: 'committed' }
  | { outcome: 'in_doubt'; write: 'tell' | 'hold' | 'nothing' }
  | { outcome: 'effect_in_progress' | 'effect_settled' }

/** The answer to a begin of whoever holds the job now. */
export function judgeBegin(effect: Effect | undefined, begin: Begin): BeginVerdict {
  if (!effect) return { outcome: 'proceed', write: 'begin' }
  const isSame = effect.begin_id === begin.begin_id && effect.fence === begin.fence
  switch (effect.state) {
    case 'committed':
      return { outcome: 'committed' }
    case 'aborted':
      // Its sender has given it up: whoever asks again asks late, and must not be told to proceed.
      return isSame || wasTold(effect, begin)
        ? { outcome: 'effect_settled' }
        : { outcome: 'proceed', write: 'begin' }
    case 'begun':
      if (isSame) return { outcome: 'proceed', write: 'nothing' }
      return effect.fence === begin.fence
        ? { outcome: 'effect_in_progress' }
        : judgeDoubt(effect, begin)
    case 'in_doubt':
      return judgeDoubt(effect, begin)
  }
}

function judgeDoubt(effect: Effect, begin: Begin): BeginVerdict {
  if (effect.on_doubt === 'retry') return { outcome: 'proceed', write: 'begin' }
  if (effect.on_doubt === 'hold') return { outcome: 'in_doubt', write: 'hold' }
  if (wasTold(effect, begin)) return { outcome: 'in_doubt', write: 'nothing' }
  return effect.doubt_fence === begin.fence
    ? { outcome: 'effect_in_progress' }
    : { outcome: 'in_doubt', write: 'tell' }
}

/** Whether this very begin was answered in_doubt. */
export function wasTold(effect: Effect, { begin_id, fence }: Begin): boolean {
  return effect.doubt_begin_id === begin_id && effect.doubt_fence === fence
}

/** Whether whoever holds the job with this fence may be about to say how it was. */
export function isInProgress(effect: Effect, fence: number): boolean {
  if (effect.state === 'begun') return effect.fence === fence
  return (
    effect.state === 'in_doubt' && effect.on_doubt === 'reconcile' && effect.doubt_fence === fence
  )
}

/** Whether it is this begin's to commit or abort, while it holds the job. */
export function maySettle(effect: Effect, begin: Begin): boolean {
  if (!isInProgress(effect, begin.fence)) return false
  return effect.state === 'begun' ? effect.begin_id === begin.begin_id : wasTold(effect, begin)
}

/** Whether this begin has settled it so before: its answer was lost. */
export function hasSettled(effect: Effect, begin: Begin, state: EffectState): boolean {
  return (
    effect.state === state &&
    effect.settled_begin_id === begin.begin_id &&
    effect.settled_fence === begin.fence
  )
}
