/** The states of a job and every legal move between them. SQL guards agree with this table; a test
 *  compares the two. */

export const jobMoves = {
  available: ['leased', 'cancelled'],
  leased: ['available', 'waiting', 'succeeded', 'failed', 'cancelled'],
  waiting: ['available', 'succeeded', 'failed', 'cancelled'],
  succeeded: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>

export type JobState = keyof typeof jobMoves

/** A final job never lives again. */
export function isFinal(state: JobState): boolean {
  return jobMoves[state].length === 0
}
