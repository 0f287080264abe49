/** The states of a job, every legal move between them, and the ways on which it makes them. SQL guards agree with
 *  these tables; tests compare them. */

export const jobMoves = {
  available: ['leased', 'waiting', 'succeeded', 'cancelled'],
  leased: ['available', 'waiting', 'succeeded', 'failed', 'cancelled'],
  waiting: ['available', 'succeeded', 'failed', 'cancelled'],
  succeeded: [],
  failed: [],
  cancelled: [],
} as const satisfies Record<string, readonly string[]>

export type JobState = keyof typeof jobMoves

/** Whoever acts on a job comes by one of these: in which states it finds the job, and in which it may leave it from
 *  there. There is no way into a final one. One that leaves the state as it is moves the job to another stage, or asks
 *  its holder for its end. */
export const jobWays = {
  claim: { available: ['leased'] },
  wake: { available: ['available'] },
  report: { leased: ['available', 'waiting', 'succeeded', 'failed', 'cancelled'] },
  reclaim: { leased: ['available', 'failed', 'cancelled'] },
  give_back: { leased: ['available', 'cancelled'] },
  hold: { leased: ['waiting', 'cancelled'] },
  resolve: { waiting: ['available'] },
  cancel: { available: ['cancelled'], leased: ['leased'], waiting: ['waiting', 'cancelled'] },
  transition: {
    available: ['available', 'waiting', 'succeeded'],
    waiting: ['available', 'waiting', 'succeeded', 'failed'],
  },
  transition_begin: { available: ['waiting'], waiting: ['waiting'] },
  transition_commit: { waiting: ['available', 'waiting', 'succeeded', 'failed', 'cancelled'] },
  transition_abandon: { waiting: ['available', 'waiting', 'cancelled'] },
} as const satisfies Record<string, Partial<Record<JobState, readonly JobState[]>>>

/** A final job never lives again. */
export function isFinal(state: JobState): boolean {
  return jobMoves[state].length === 0
}
