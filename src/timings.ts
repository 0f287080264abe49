/** The durations of a replica, and what they must be to each other. Milliseconds. */
export interface Timings {
  pingMs: number
  trustWindowMs: number
  idleSessionTimeoutMs: number
  lockSliceMs: number
  pollWaitMs: number
  pollWaitCapMs: number
  heartbeatMs: number
  leaseTtlMs: number
  selfFenceMs: number
  clientBackoffCapMs: number
  sweepIntervalMs: number
  cancelGraceMs: number
  runTimeoutGraceMs: number
}

/** A promotion and its recovery are allowed this long where durations are held together. */
const promotionMs = 1_000
/** Longest time that a request handler may take; a long poll must end before it. */
export const handlerTimeoutMs = 30_000

/** The durations must hold together, or a healthy executor could lose its work to a failover. */
const rules: [holds: (t: Timings) => boolean, fault: string][] = [
  [
    (t) => 2 * t.pingMs < t.trustWindowMs,
    'UNDERSTUDY_TRUST_WINDOW_MS must be more than twice UNDERSTUDY_LEADER_PING_MS',
  ],
  [
    (t) => t.trustWindowMs < t.idleSessionTimeoutMs,
    'UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS must be more than UNDERSTUDY_TRUST_WINDOW_MS',
  ],
  [
    (t) => t.lockSliceMs < t.idleSessionTimeoutMs,
    'UNDERSTUDY_LOCK_SLICE_MS must be less than UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS',
  ],
  [
    (t) => t.trustWindowMs + promotionMs + t.heartbeatMs + t.clientBackoffCapMs <= t.selfFenceMs,
    `UNDERSTUDY_SELF_FENCE_MS must be at least UNDERSTUDY_TRUST_WINDOW_MS + ${promotionMs} + UNDERSTUDY_HEARTBEAT_MS + UNDERSTUDY_CLIENT_BACKOFF_CAP_MS`,
  ],
  [
    (t) => t.selfFenceMs + 10_000 <= t.leaseTtlMs,
    'UNDERSTUDY_LEASE_TTL_MS must be at least UNDERSTUDY_SELF_FENCE_MS + 10000',
  ],
  [
    (t) => 3 * t.heartbeatMs <= t.leaseTtlMs,
    'UNDERSTUDY_LEASE_TTL_MS must be at least three times UNDERSTUDY_HEARTBEAT_MS',
  ],
  [
    (t) => t.pollWaitMs <= t.pollWaitCapMs,
    'UNDERSTUDY_POLL_WAIT_MS must be at most UNDERSTUDY_POLL_WAIT_CAP_MS',
  ],
  [
    (t) => t.pollWaitCapMs < handlerTimeoutMs,
    `UNDERSTUDY_POLL_WAIT_CAP_MS must be less than ${handlerTimeoutMs}, the server's handler timeout`,
  ],
  [
    (t) => t.cancelGraceMs <= t.runTimeoutGraceMs,
    'UNDERSTUDY_RUN_TIMEOUT_GRACE_MS must be at least UNDERSTUDY_CANCEL_GRACE_MS',
  ],
]

export function faultyTimings(timings: Timings): string[] {
  return rules.filter(([holds]) => !holds(timings)).map(([, fault]) => fault)
}
