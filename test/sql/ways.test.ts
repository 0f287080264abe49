import type pg from 'pg'
import { expect, test } from 'vitest'
import { isFinal, type JobState, jobMoves, jobWays } from '../../src/domain/job.ts'
import {
  endByDoubt,
  endByLoss,
  endByReport,
  endByUndelivered,
  type LeaseEnd,
  type LockedJob,
  type Report,
} from '../../src/domain/lease.ts'
import { cancelJobsIfOpen } from '../../src/sql/cancels.ts'
import { claimJobs, wakeDueJobs } from '../../src/sql/claims.ts'
import { resumeIfWaiting } from '../../src/sql/effects.ts'
import { endLeasesIfFenced, lockJobs } from '../../src/sql/leases.ts'
import { moveJobIfThere } from '../../src/sql/moves.ts'
import {
  endTransitionIfLive,
  findLiveTransition,
  holdForTransition,
  releaseFromTransition,
} from '../../src/sql/transitions.ts'
import { useDatabase } from '../support/database.ts'
import { connect, placeJob } from '../support/placed-jobs.ts'

/** The ways into a job, as the table has them, against the statements that take them. */

const db = useDatabase()

type Way = keyof typeof jobWays
type Moves = Partial<Record<JobState, readonly JobState[]>>
type Take = (tx: pg.Client, id: string, classId: number) => Promise<unknown>

/** One form that a way takes, and for what the job waits, or what else it is, if that is how it finds it. */
interface Form {
  take: Take
  waitingFor?: string
  setUp?: string
}

const states = Object.keys(jobMoves) as JobState[]

const ending =
  (end: (job: LockedJob) => LeaseEnd): Take =>
  async (tx, id) => {
    const [job] = await lockJobs(tx, [id])
    // A miss throws, which is how nothing of it commits.
    if (job) await endLeasesIfFenced(tx, [end(job)]).catch(() => undefined)
  }

const reports = (outcome: Report['outcome'], retryable = true) => {
  const error = { code: 'x', message: '', retryable }
  return ending((job) => endByReport(job, { outcome, error }))
}

const loss = (budget: number) =>
  ending((job) => endByLoss(job, budget, { tier: 'expired', why: '' }))

/** To a manual stage, to one with work, and out. */
const moves: Take[] = [
  (tx, id) => moveJobIfThere(tx, there(id), { stage: { name: 'b', position: 1, class_id: null } }),
  (tx, id, class_id) =>
    moveJobIfThere(tx, there(id), { stage: { name: 'c', position: 2, class_id } }),
  (tx, id) => moveJobIfThere(tx, there(id), { end: 'succeeded' }),
  (tx, id) => moveJobIfThere(tx, there(id), { end: 'failed' }),
]
const there = (id: string) => ({ id, stage: 'a', move: 0 })

/** Whoever ends a transition takes the claim first. */
function owning(outcome: 'committed' | 'abandoned', take: Take): Take {
  return async (tx, id, classId) => {
    const live = await findLiveTransition(tx, id)
    if (!live) return
    await endTransitionIfLive(tx, live.token, outcome, outcome === 'committed' ? 1 : null)
    await take(tx, id, classId)
  }
}

const claim: Take = (tx, _id, classId) => {
  const slots = [{ executor_id: 'x', epoch: 1, poll_id: null }]
  return claimJobs(tx, [classId], slots, [], { leaseTtlMs: 1_000, maxBytes: 1e6 })
}
const cancel: Take = (tx, id) => cancelJobsIfOpen(tx, [id], null)
const begin: Take = (tx, job_id) => holdForTransition(tx, { job_id, stage: 'a', move: 0 })
const abandon = owning('abandoned', (tx, id) => releaseFromTransition(tx, [id]))
const atManual = "stage = 'b'"

const forms: Record<Way, Form[]> = {
  claim: [{ take: claim }],
  wake: [{ take: (tx, id) => wakeDueJobs(tx, [id]), setUp: "scheduled = state = 'available'" }],
  report: [
    { take: reports('succeeded') },
    { take: reports('succeeded'), setUp: atManual },
    { take: reports('failed') },
    { take: reports('failed', false) },
    { take: reports('cancelled') },
    { take: reports('released') },
  ],
  reclaim: [{ take: loss(5) }, { take: loss(0) }],
  give_back: [{ take: ending(endByUndelivered) }],
  hold: [{ take: ending((job) => endByDoubt(job, 'k')) }],
  resolve: [{ take: (tx, id) => resumeIfWaiting(tx, id) }],
  cancel: [{ take: cancel }, { take: cancel, waitingFor: 'transition' }],
  transition: moves.map((take) => ({ take, waitingFor: 'decision' })),
  transition_begin: [{ take: begin, waitingFor: 'decision' }],
  transition_commit: moves.map((take) => ({
    take: owning('committed', take),
    waitingFor: 'transition',
  })),
  transition_abandon: [
    { take: abandon, waitingFor: 'transition' },
    { take: abandon, waitingFor: 'transition', setUp: atManual },
  ],
}

const look = async (id: string) => (await db.sql('SELECT * FROM jobs WHERE id = $1', [id]))[0]

/** What becomes of a job that one form of a way finds in this state. */
async function tryOn(tx: pg.Client, state: JobState, form: Form, isCancelled: boolean) {
  const { take, waitingFor = 'effect', setUp = 'move = 0' } = form
  const asked = isCancelled ? `, cancel_requested_at = clock_timestamp()` : ''
  const { id, classId } = await placeJob(db, state, waitingFor, setUp + asked)
  const before = await look(id)
  await take(tx, id, classId)
  const after = await look(id)
  return {
    isTaken: JSON.stringify(after) !== JSON.stringify(before),
    state: after?.state as JobState,
  }
}

test.each(Object.keys(jobWays) as Way[])(
  'invariant 3: %s finds a job in the states of its table, leaves it in just those, and changes no other',
  async (way) => {
    const tx = await connect(db)
    const legal: Moves = jobWays[way]
    for (const state of states) {
      const left = new Set<JobState>()
      for (const form of forms[way]) {
        for (const isCancelled of [false, ...(state in legal ? [true] : [])]) {
          const after = await tryOn(tx, state, form, isCancelled)
          if (after.isTaken) left.add(after.state)
          // Once its end was asked for a job is led nowhere but out (invariant 6).
          if (isCancelled) expect([state, 'cancelled', 'succeeded']).toContain(after.state)
        }
      }
      expect([state, [...left].sort()]).toEqual([state, [...(legal[state] ?? [])].sort()])
    }
  },
)

test('invariant 3: the ways make legal moves alone, and none leads into a final job', () => {
  for (const way of Object.values(jobWays) as Moves[]) {
    for (const [state, to] of Object.entries(way) as [JobState, JobState[]][]) {
      expect(isFinal(state)).toBe(false)
      expect([state, ...jobMoves[state]]).toEqual(expect.arrayContaining(to))
    }
  }
})
