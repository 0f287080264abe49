import { expect, test } from 'vitest'
import { endByReport } from '../../src/domain/lease.ts'
import type { Target } from '../../src/domain/stage.ts'
import { endLeasesIfFenced, lockJobs } from '../../src/sql/leases.ts'
import { moveJobIfThere } from '../../src/sql/moves.ts'
import {
  endTransitionIfLive,
  expireTransitions,
  findLiveTransition,
  holdForTransition,
  releaseFromTransition,
} from '../../src/sql/transitions.ts'
import { useDatabase } from '../support/database.ts'
import { connect, placeJob } from '../support/placed-jobs.ts'

/** What the statements themselves refuse, whoever judged what a while ago. */

const db = useDatabase()

const on: Target = { stage: { name: 'b', position: 1, class_id: null } }

test('a job is moved only from the stage and the move that it was judged at', async () => {
  const tx = await connect(db)
  const { id } = await placeJob(db, 'waiting', 'decision')
  expect(await moveJobIfThere(tx, { id, stage: 'b', move: 0 }, on)).toBeUndefined()
  expect(await moveJobIfThere(tx, { id, stage: 'a', move: 1 }, on)).toBeUndefined()
  expect(await holdForTransition(tx, { job_id: id, stage: 'a', move: 1 })).toBe(false)
  expect(await holdForTransition(tx, { job_id: id, stage: 'b', move: 0 })).toBe(false)
  expect(await moveJobIfThere(tx, { id, stage: 'a', move: 0 }, on)).toMatchObject({ id })
})

test('a job is not moved past an effect that holds it, nor past an owner of its next move', async () => {
  const tx = await connect(db)
  const held = await placeJob(db, 'waiting', 'effect')
  expect(await moveJobIfThere(tx, { id: held.id, stage: 'a', move: 0 }, on)).toBeUndefined()
  const { id } = await placeJob(db, 'waiting', 'transition')
  expect(await moveJobIfThere(tx, { id, stage: 'a', move: 0 }, on)).toBeUndefined()
})

test('a job on which somebody may work next is not rejected', async () => {
  const tx = await connect(db)
  const { id } = await placeJob(db, 'available', 'decision')
  const reject: Target = { end: 'failed' }
  expect(await moveJobIfThere(tx, { id, stage: 'a', move: 0 }, reject)).toBeUndefined()
})

test('a job is let go only once nobody owns its next move, and only a claim that is expired is ended as such', async () => {
  const tx = await connect(db)
  const { id } = await placeJob(db, 'waiting', 'transition')
  expect(await expireTransitions(tx, [id])).toEqual([])
  expect(await releaseFromTransition(tx, [id])).toEqual([])
  const live = await findLiveTransition(tx, id)
  expect(await endTransitionIfLive(tx, live?.token ?? '', 'forced')).toBe(true)
  expect(await endTransitionIfLive(tx, live?.token ?? '', 'abandoned')).toBe(false)
  expect(await releaseFromTransition(tx, [id])).toMatchObject([{ id, state: 'available' }])
})

test('invariant 2: a lease that was judged in another stage is not ended', async () => {
  const tx = await connect(db)
  const { id } = await placeJob(db, 'leased', 'decision')
  const [job] = await lockJobs(tx, [id])
  if (!job) throw new Error('the job is not there')
  expect(job).toMatchObject({ stage: 'a', next_stage: { name: 'b', class_id: null } })
  await db.sql("UPDATE jobs SET stage = 'b' WHERE id = $1", [id])
  const end = endByReport(job, { outcome: 'succeeded' })
  await expect(endLeasesIfFenced(tx, [end])).rejects.toThrow('0 of 1 leases ended')
})
