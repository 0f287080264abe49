/**
 * Named locks: how the TTL that a holder asks for becomes the deadlines that it is told. Each acquire or renew sets
 * both anew, by the database's clock (invariant 8):
 *
 *   ──acquire──▶ held ──expires_at: three heartbeats missed──▶ stale ──ends_at: the whole TTL──▶ free
 *                 ▲                                              │
 *                 └───────renew, if nobody has taken it──────────┘
 *   held, stale ──release, force-release, end of its job──▶ free
 *
 * Stale and free locks are anybody's. Guaranteed: who counts `valid_ms` from when it SENT the request that was
 * answered never believes to hold a lock that another may have, with three exceptions, which free it at once: an
 * operator took it away, a new process of its own owner did, or the job ended that it was tied to. Not guaranteed: an
 * order among those who wait.
 */
export interface LockTiming {
  /** How often the holder is to renew. */
  renew_ms: number
  /** How long it may believe to hold the lock, from when it sent a request that was answered. */
  valid_ms: number
}

/** As often as executors beat. */
const renewCapMs = 5_000
const missedBeats = 3

export function lockTiming(ttlMs: number): LockTiming {
  const renew_ms = Math.min(renewCapMs, Math.floor(ttlMs / missedBeats))
  return { renew_ms, valid_ms: Math.min(ttlMs, renewCapMs * missedBeats) }
}
