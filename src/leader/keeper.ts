import type { Clock } from '../clock.ts'
import type { Gate } from './gate.ts'
import type { LockSession } from './lock-session.ts'
import type { EndReason, Term } from './term.ts'

export interface KeeperOptions {
  pingMs: number
  trustWindowMs: number
  gate: Gate
  clock: Clock
  /** False: executors may not have been heard of late, so that this ping must not say they were. */
  isHearing(): boolean
  /** Why this replica can no longer lead. */
  unfitness(): EndReason | undefined
  /** A ping was answered. */
  onPing?(ping: Ping): void
}

export interface Ping {
  /** From sending to answer. */
  ms: number
  /** What was left of the trust when the answer came. */
  marginMs: number
}

/** Pings on the lock session until the term is lost. An answer counts whenever it comes, dated from
 *  when its ping was sent; no second ping is queued behind one. */
export async function keepTerm(term: Term, session: LockSession, options: KeeperOptions) {
  await Promise.all([ping(term, session, options), watchTrust(term, options.clock)])
}

async function ping(
  term: Term,
  session: LockSession,
  { gate, clock, pingMs, trustWindowMs, isHearing, unfitness, onPing }: KeeperOptions,
) {
  while (!term.lost.aborted) {
    const sentAt = clock.monotonic()
    const unfit = unfitness()
    // No ping behind it: the session must have nothing under way to be closed politely.
    if (unfit) return term.lose(unfit)
    try {
      const isServing = gate.serving === term && isHearing()
      const isHeld = await session.tick(term.number, term.replicaId, isServing)
      onPing?.({ ms: clock.monotonic() - sentAt, marginMs: term.marginMs })
      if (!isHeld) term.lose('superseded')
      term.extendTrust(sentAt + trustWindowMs)
    } catch {
      // Whatever went wrong, the lock can no longer be shown to be held.
      term.lose('session_ended')
    }
    await clock.sleep(sentAt + pingMs - clock.monotonic(), term.lost)
  }
}

/** Every ask of the gate looks at the clock; this loop loses the term also when nobody asks. */
async function watchTrust(term: Term, clock: Clock) {
  while (term.isTrusted()) {
    await clock.sleep(term.trustedUntil - clock.monotonic(), term.lost)
  }
}
