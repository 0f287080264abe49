/** What so many sequences come to, or they show nothing: none of it is rare. */
const common = [
  'abandon: done',
  'begin: committed',
  'begin: controller_standby',
  'begin: effect_in_progress',
  'begin: in_doubt',
  'begin: proceed',
  'begin: stale_fence',
  'cancel: done',
  'commit: done',
  'critical: done',
  'heartbeat: done',
  'own: done',
  'poll: given',
  'report: accepted',
  'report: duplicate',
  'report: stale_epoch',
  'report: stale_fence',
  'resolve: committed',
  'retry: done',
  'settle: aborted',
  'settle: committed',
  'settle: stale_fence',
  'submit: idempotency_mismatch',
  'submit: replayed',
  'transition: done',
] as const

/** From so many on it is looked for. */
const enough = 300

/** What never happened, though it should have. */
export function missingFrom(tally: ReadonlyMap<string, number>, runs: number): string[] {
  return runs < enough ? [] : common.filter((kind) => !tally.has(kind))
}
