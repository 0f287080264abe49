import type { Found } from './explore.ts'

/** What so many sequences come to, or they show nothing: none of it is rare. */
const common = [
  'abandon: done',
  'begin: cancel_requested',
  'begin: committed',
  'begin: controller_standby',
  'begin: effect_in_progress',
  'begin: in_doubt',
  'begin: proceed',
  'begin: stale_fence',
  'cancel: done',
  'commit: done',
  'commit: replayed',
  'critical: done',
  'end_unanswered_cancels: acted',
  'enforce_run_timeouts: acted',
  'expire_leases: acted',
  'heartbeat: gave back',
  'heartbeat: revoked',
  'heartbeat: told to stop',
  'own: done',
  'own: stale_token',
  'poll: given',
  'promote: acted',
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
  'transition: replayed',
  'wake_due_jobs: acted',
] as const

/** From so many on it is looked for. */
const enough = 300

/** What never happened, though it should have. */
function missingFrom(tally: ReadonlyMap<string, number>, runs: number): string[] {
  return runs < enough ? [] : common.filter((kind) => !tally.has(kind))
}

/** Any course explains a call that was not answered. Where there are more of them than this, little was shown. */
const mostUnanswered = 0.01

/** The share of calls that the database did not answer, if it is too much. */
function unansweredIn(tally: ReadonlyMap<string, number>, runs: number): number | undefined {
  if (runs < enough) return undefined
  const entries = [...tally]
  const lost = entries.filter(([kind]) => kind.endsWith(': database_unavailable'))
  const sum = (counts: [string, number][]) => counts.reduce((all, [, times]) => all + times, 0)
  const share = sum(lost) / Math.max(1, sum(entries))
  return share > mostUnanswered ? share : undefined
}

/** Why so many sequences show too little, if they do. */
export function emptinessOf({ tally, runs }: Pick<Found, 'tally' | 'runs'>): string[] {
  const missing = missingFrom(tally, runs)
  const share = unansweredIn(tally, runs)
  return [
    ...(missing.length > 0 ? [`this never happened: ${missing.join('; ')}`] : []),
    ...(share === undefined ? [] : [`${Math.round(share * 100)} % of the calls were not answered`]),
  ]
}
