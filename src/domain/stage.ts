/**
 * Stages of a job, one after the other. Pure: rows that were read under the job's lock go in, and where the job goes
 * comes out.
 *
 *   stage ──its attempt succeeded──▶ the next one, or after the last: succeeded
 *   stage ──transition, or the commit of one that is owned──▶ any other one; from the last: succeeded; rejected: failed
 *
 * A stage with executor work is `available` when it is entered, a manual one `waiting`. Guaranteed: one move for each
 * `move` number, whoever asks for it, and however often. Not guaranteed: that a stage is visited once.
 */
import { isFinal, type JobState } from './job.ts'

export interface Stage {
  name: string
  position: number
  /** null: a manual one. */
  class_id: number | null
}

export type WaitingFor = 'effect' | 'decision' | 'transition'

/** A stage, as far as a move to it needs to know. */
export type NextStage = Pick<Stage, 'name' | 'class_id'>

export type Entered =
  | { state: 'available'; waitingFor: null }
  | { state: 'waiting'; waitingFor: 'decision' }

/** What a job is in a stage on which nobody works yet. */
export function enter({ class_id }: Pick<Stage, 'class_id'>): Entered {
  return class_id === null
    ? { state: 'waiting', waitingFor: 'decision' }
    : { state: 'available', waitingFor: null }
}

/** All that the stages of a job may hand on, in bytes of JSON: it goes out with every claim. */
export const resultsBytes = 1_024 * 1_024

/** Where a job with stages stands, locked. */
export interface Standing {
  state: JobState
  stage: string
  move: number
  waiting_for: WaitingFor | null
}

/** What somebody believes of it. */
export interface Expected {
  expected_stage: string
  expected_move?: number | undefined
}

export type Refusal = 'job_final' | 'stage_mismatch' | 'job_leased' | 'effect_in_doubt'

/** Why the job is not to be moved by an outside actor, most telling first. Who owns a move of it is not asked here. */
export function refuseMove(job: Standing, expected: Expected): Refusal | undefined {
  if (isFinal(job.state)) return 'job_final'
  const { expected_stage, expected_move = job.move } = expected
  if (job.stage !== expected_stage || job.move !== expected_move) return 'stage_mismatch'
  if (job.state === 'leased') return 'job_leased'
  if (job.state === 'waiting' && (job.waiting_for ?? 'effect') === 'effect') {
    return 'effect_in_doubt'
  }
  return undefined
}

/** Where a move leads: to a stage, or out of the pipeline. */
export type Target = { stage: Stage } | { end: 'succeeded' | 'failed' }

/** The target that `to` names, seen from `from`; text: why there is none. Rejecting takes somebody who decides: a
 *  manual stage, or the owner of the move. */
export function targetOf(
  stages: Stage[],
  from: Stage,
  to: string,
  isOwned: boolean,
): Target | string {
  if (to === 'succeeded') {
    return from === stages.at(-1) ? { end: to } : 'only the last stage leads there'
  }
  if (to === 'failed') {
    const mayReject = from.class_id === null || isOwned
    return mayReject ? { end: to } : 'only a manual stage, or an owned transition, leads there'
  }
  const stage = stages.find(({ name }) => name === to)
  if (!stage) return 'no such stage'
  return stage === from ? 'the job is there' : { stage }
}

/** What a move by an outside actor makes of the stages: which are visited anew, and which was approved. */
export function marksOf(from: Stage, target: Target) {
  const isBack = 'stage' in target && target.stage.position < from.position
  const isRejected = 'end' in target && target.end === 'failed'
  return {
    undoneFrom: isBack ? target.stage.position : undefined,
    isApproved: from.class_id === null && !isBack && !isRejected,
  }
}
