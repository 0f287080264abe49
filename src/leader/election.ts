import { fullJitter } from '../backoff.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { sqlState } from '../sql/failure.ts'
import type { Gate } from './gate.ts'
import { keepTerm, type Ping } from './keeper.ts'
import { LockSession, type LockSessionOptions } from './lock-session.ts'
import { type Duties, serveTerm } from './tenure.ts'
import { type EndReason, Term } from './term.ts'

/**
 * One replica's part in the election, for as long as it runs:
 *
 *   stand ──granted──▶ promote ──term──▶ lead (tenure + keeper) ──lost──▶ pause ──▶ stand …
 *     └─ any error: close the session, back off with jitter, stand again
 *
 * Guarantees: at most one session holds the lock; a term is promoted only while its session holds it;
 * a session that was granted, lost, timed out or in doubt is closed, never reused for another stand.
 * Not guaranteed: that a lost leader has stopped when its successor starts. See term.ts and the fence.
 */
export interface ElectionOptions {
  replicaId: string
  lock: LockSessionOptions
  lockSliceMs: number
  pingMs: number
  trustWindowMs: number
  gate: Gate
  duties: Duties
  clock: Clock
  log: Log
  /** False while the schema does not fit this build, or the self-test refuses: such a replica never stands. */
  mayStand(): boolean
  /** Why this build or this replica must not lead any longer: such a leader serves nobody, and makes way. */
  unfitness(): EndReason | undefined
  /** Whether executors can make themselves heard. */
  isHearing(): boolean
  /** Written by a session that outlives the lock's, as far as it can be. */
  recordTermEnd(term: Term, reason: EndReason): Promise<void>
  /** Fired for free at each step; tests wait for it. */
  onEvent?(event: ElectionEvent): void
  /** A ping was answered. */
  onPing?(ping: Ping): void
}

/** `promoted` says how long that took, from the grant of the lock on; a term that has `ended` is `lost` once
 *  its work has ended, too. */
export type ElectionEvent =
  /** `waiting`: a slice has passed in vain. */
  | { type: 'standing' | 'waiting' | 'granted' | 'stood_back' }
  | { type: 'promoted'; term: Term; ms: number }
  | { type: 'ended'; term: Term; reason: EndReason }
  | { type: 'lost'; term: Term }

const afterLossMs = 2_000
const standBackMs = 30_000
const schemaPauseMs = 250
const patience = { failures: 3, ms: 10_000 }
const backoff = { baseMs: 200, factor: 2, capMs: 5_000 }

/** Stands, leads and stands again until `stopping` aborts; then hands over and returns. */
export async function runElection(o: ElectionOptions, stopping: AbortSignal): Promise<void> {
  let failures = 0
  while (!stopping.aborted) {
    let pauseMs = schemaPauseMs
    try {
      if (o.mayStand()) pauseMs = await standOnce(o, stopping)
      failures = 0
    } catch (error) {
      o.log.warn({ err: error }, 'standing for election failed and will be tried again')
      pauseMs = fullJitter(failures++, backoff)
    }
    await o.clock.sleep(pauseMs, stopping)
  }
}

/** One session, from opening to closing. Returns how long to wait before the next. */
async function standOnce(o: ElectionOptions, stopping: AbortSignal): Promise<number> {
  const session = await LockSession.open(o.lock)
  try {
    o.onEvent?.({ type: 'standing' })
    if (!(await waitForGrant(o, session, stopping))) return 0
    o.log.info('lock granted')
    o.onEvent?.({ type: 'granted' })
    const term = await promote(o, session)
    await lead(o, session, term, stopping)
    return term.endReason === 'recovery_failed' ? standBackMs : afterLossMs
  } finally {
    await session.close()
  }
}

/** False: this replica no longer stands. A slice under way is cut short by ending its session. */
async function waitForGrant(o: ElectionOptions, session: LockSession, stopping: AbortSignal) {
  const cut = () => session.destroy()
  stopping.addEventListener('abort', cut, { once: true })
  try {
    while (!stopping.aborted && o.mayStand()) {
      if (await session.waitSlice(o.lockSliceMs)) return !stopping.aborted
      o.onEvent?.({ type: 'waiting' })
    }
    return false
  } catch (error) {
    if (stopping.aborted) return false
    throw error
  } finally {
    stopping.removeEventListener('abort', cut)
  }
}

const lockNotAvailable = '55P03'

/** A writer of the term before that is frozen in its transaction still holds the fence: its session is
 *  ended, and the promotion tried again. */
async function promote(o: ElectionOptions, session: LockSession): Promise<Term> {
  const grantedAt = o.clock.monotonic()
  for (;;) {
    const sentAt = o.clock.monotonic()
    try {
      const number = await session.promote(o.replicaId)
      const term = new Term(number, o.replicaId, o.clock, sentAt + o.trustWindowMs)
      const ms = o.clock.monotonic() - grantedAt
      o.log.info({ term: number, ms: Math.round(ms) }, 'promoted')
      o.onEvent?.({ type: 'promoted', term, ms })
      return term
    } catch (error) {
      if (sqlState(error) !== lockNotAvailable) throw error
      const pids = await session.terminateFenceHolders()
      o.log.warn({ pids }, 'ended sessions of the term before that still held the fence')
    }
  }
}

async function lead(o: ElectionOptions, session: LockSession, term: Term, stopping: AbortSignal) {
  const lost = new Promise<void>((resolve) => {
    term.lost.addEventListener('abort', () => resolve(), { once: true })
  })
  const ended = endTermWith(term, session.ended, 'session_ended')
  const stopped = endTermWith(term, stopping, 'hand_over')
  const work = Promise.all([
    serveTerm(term, o.gate, o.duties, failureHandler(o, session, term)),
    keepTerm(term, session, o),
  ])
  try {
    await Promise.race([lost, work])
  } finally {
    term.lose('recovery_failed')
    ended()
    stopped()
    await letGo(o, session, term)
  }
  await work
  o.onEvent?.({ type: 'lost', term })
}

/** Loses the term when the signal aborts; the returned function takes the tie off again. */
function endTermWith(term: Term, signal: AbortSignal, reason: EndReason): () => void {
  const lose = () => term.lose(reason)
  signal.addEventListener('abort', lose, { once: true })
  if (signal.aborted) lose()
  return () => signal.removeEventListener('abort', lose)
}

/** Ends of our own choosing, with a session that still answers. */
const deliberate = new Set<EndReason>([
  'hand_over',
  'step_down',
  'recovery_failed',
  'schema_changed',
  'refused',
])

/** The lock goes first, so that a successor need not wait for our sweeps to end. */
async function letGo(o: ElectionOptions, session: LockSession, term: Term) {
  const reason = term.endReason ?? 'session_ended'
  o.log[reason === 'hand_over' || reason === 'step_down' ? 'info' : 'warn'](
    { term: term.number, reason },
    'leadership ended',
  )
  o.onEvent?.({ type: 'ended', term, reason })
  if (deliberate.has(reason)) await session.close()
  else session.destroy()
  try {
    await o.recordTermEnd(term, reason)
  } catch (error) {
    o.log.info({ err: error, term: term.number, reason }, "the term's end could not be recorded")
  }
}

/** Recovery is retried with backoff. After three failures or ten seconds a replica that sees another
 *  waiter leaves the lock to it. */
function failureHandler(o: ElectionOptions, session: LockSession, term: Term) {
  const since = o.clock.monotonic()
  let failures = 0
  return async (error: unknown) => {
    failures += 1
    o.log.error({ err: error, term: term.number, failures }, 'recovery failed')
    const isSpent = failures >= patience.failures || o.clock.monotonic() - since >= patience.ms
    if (isSpent && (await session.hasOtherWaiter())) {
      o.onEvent?.({ type: 'stood_back' })
      return term.lose('recovery_failed')
    }
    await o.clock.sleep(fullJitter(failures, backoff), term.lost)
  }
}
