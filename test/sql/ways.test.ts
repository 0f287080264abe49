import type pg from 'pg'
import { expect, test } from 'vitest'
import { isFinal, type JobState, jobMoves, jobWays } from '../../src/domain/job.ts'
import { endByDoubt, endByLoss, endByReport, endByUndelivered } from '../../src/domain/lease.ts'
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

const states = Object.keys(jobMoves) as JobState[]
const stage = { name: 'b', position: 1, class_id: null }

const ending =
  (
    end: (job: Awaited<ReturnType<typeof lockJobs>>[number]) => ReturnType<typeof endByDoubt>,
  ): Take =>
  async (tx, id) => {
    const [job] = await lockJobs(tx, [id])
    // A miss throws, which is how nothing of it commits.
    if (job) await endLeasesIfFenced(tx, [end(job)]).catch(() => undefined)
  }

const move: Take = (tx, id) => moveJobIfThere(tx, { id, stage: 'a', move: 0 }, { stage })

/** Whoever ends a transition takes the claim first. */
function owning(outcome: 'committed' | 'abandoned', take: Take): Take {
  return async (tx, id, classId) => {
    const live = await findLiveTransition(tx, id)
    if (!live) return
    await endTransitionIfLive(tx, live.token, outcome, outcome === 'committed' ? 1 : null)
    await take(tx, id, classId)
  }
}

/** How each is taken, and for what the job waits if that is how it finds it. */
const takes: Record<Way, { take: Take; waitingFor?: string; setUp?: string }> = {
  claim: {
    take: (tx, _id, classId) => {
      const slots = [{ executor_id: 'x', epoch: 1, poll_id: null }]
      return claimJobs(tx, [classId], slots, { leaseTtlMs: 1_000, maxBytes: 1e6 })
    },
  },
  report: { take: ending((job) => endByReport(job, { outcome: 'succeeded' })) },
  reclaim: { take: ending((job) => endByLoss(job, 5, { tier: 'expired', why: '' })) },
  give_back: { take: ending(endByUndelivered) },
  hold: { take: ending((job) => endByDoubt(job, 'k')) },
  resolve: { take: (tx, id) => resumeIfWaiting(tx, id), waitingFor: 'effect' },
  cancel: { take: (tx, id) => cancelJobsIfOpen(tx, [id], null) },
  wake: { take: (tx, id) => wakeDueJobs(tx, [id]), setUp: "scheduled = state = 'available'" },
  transition: { take: move, waitingFor: 'decision' },
  transition_begin: {
    take: (tx, job_id) => holdForTransition(tx, { job_id, stage: 'a', move: 0 }),
    waitingFor: 'decision',
  },
  transition_commit: { take: owning('committed', move), waitingFor: 'transition' },
  transition_abandon: {
    take: owning('abandoned', (tx, id) => releaseFromTransition(tx, [id])),
    waitingFor: 'transition',
  },
}

const look = async (id: string) => (await db.sql('SELECT * FROM jobs WHERE id = $1', [id]))[0]

test.each(Object.keys(jobWays) as Way[])(
  'invariant 3: %s finds a job in the states of its table, leaves it in those, and changes no other',
  async (way) => {
    const tx = await connect(db)
    const { take, waitingFor = 'effect', setUp } = takes[way]
    const legal: Moves = jobWays[way]
    for (const state of states) {
      const { id, classId } = await placeJob(db, state, waitingFor, setUp)
      const before = await look(id)
      await take(tx, id, classId)
      const after = await look(id)
      const isTaken = JSON.stringify(after) !== JSON.stringify(before)
      expect([state, isTaken]).toEqual([state, state in legal])
      if (isTaken) expect(legal[state]).toContain(after?.state)
    }
  },
)

test.each(Object.keys(jobWays) as Way[])(
  'invariant 6: once its end was asked for, %s leads a job nowhere but out',
  async (way) => {
    const tx = await connect(db)
    const { take, waitingFor = 'effect', setUp = '' } = takes[way]
    const legal: Moves = jobWays[way]
    const asked = `cancel_requested_at = clock_timestamp()${setUp && `, ${setUp}`}`
    for (const state of Object.keys(legal) as JobState[]) {
      const { id, classId } = await placeJob(db, state, waitingFor, asked)
      await take(tx, id, classId)
      const after = (await look(id))?.state
      expect([state, 'cancelled', 'succeeded']).toContain(after)
      if (after !== state) expect(legal[state]).toContain(after)
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
