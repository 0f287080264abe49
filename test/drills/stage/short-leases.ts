/** So that leases run out within a drill; the inequalities of configuration hold. Drills that say nothing
 *  have the default durations. */
export const shortLeases = {
  UNDERSTUDY_HEARTBEAT_MS: '1000',
  UNDERSTUDY_SELF_FENCE_MS: '9000',
  UNDERSTUDY_LEASE_TTL_MS: '19000',
}
