import {
  type Expected,
  marksOf,
  type Refusal,
  refuseMove,
  type Stage,
  type Target,
  targetOf,
} from '../domain/stage.ts'
import { AppError, invalid } from '../errors.ts'
import type { PlacedRow } from '../sql/jobs.ts'
import { type MoveRow, moveJobIfThere, type NewMove, recordMove } from '../sql/moves.ts'
import type { Queryable } from '../sql/pool.ts'
import {
  approveStage,
  listStages,
  lockPipeline,
  type PipelineRow,
  undoStagesFrom,
} from '../sql/stages.ts'
import {
  endTransitionIfLive,
  findLiveTransition,
  type TransitionOutcome,
  type TransitionRow,
} from '../sql/transitions.ts'
import { type Actor, audit } from './audit.ts'
import { noJob } from './lease-calls.ts'

/** What the ways to move a job share. All of it runs under the job's row lock. */

/** The job, locked. Who decides is bound to no queues. Throws not_found. */
export async function lockJob(tx: Queryable, jobId: string): Promise<PipelineRow> {
  const job = await lockPipeline(tx, jobId)
  if (!job) throw noJob(jobId)
  return job
}

/** The stages of a job, and the one that is spoken of. Throws invalid_request if it has none of that name: that is so
 *  whatever its state. */
export async function findStage(
  tx: Queryable,
  job: PipelineRow,
  name: string,
): Promise<{ stages: Stage[]; from: Stage }> {
  const stages = job.stage === null ? [] : await listStages(tx, job.id)
  const from = stages.find((stage) => stage.name === name)
  if (from) return { stages, from }
  const names = stages.map((stage) => stage.name).join(', ')
  const message = stages.length > 0 ? `no such stage; there are ${names}` : 'the job has no stages'
  throw invalid('expected_stage', message)
}

/** Where `to` leads from there. Throws invalid_request. */
export function pathTo(
  { stages, from }: { stages: Stage[]; from: Stage },
  to: string,
  isOwned = false,
): Target {
  const target = targetOf(stages, from, to, isOwned)
  if (typeof target === 'string') throw invalid('to', target)
  return target
}

/** Throws why the job is not to be moved by whoever expects this of it. */
export function judge(job: PipelineRow, expected: Expected): void {
  const { state, stage, move, waiting_for } = job
  if (stage === null) throw invalid('expected_stage', 'the job has no stages')
  const refusal = refuseMove({ state, stage, move, waiting_for }, expected)
  if (!refusal) return
  const why: Record<Refusal, string> = {
    job_final: `the job is ${state}`,
    stage_mismatch: `the job is at stage ${stage}, move ${move}`,
    job_leased: `an executor works on stage ${stage}`,
    effect_in_doubt: 'the job waits for an effect that is in doubt: resolve that first',
  }
  throw new AppError(refusal, why[refusal], { facts: { state, stage, move } })
}

type Owner = Pick<TransitionRow, 'owner' | 'boot_id' | 'token_id'>

interface Cleared {
  /** Theirs, who asked. */
  live?: TransitionRow
  /** Whose was ended; for the audit. */
  displaced?: Omit<Owner, 'token_id'> & { outcome: TransitionOutcome }
}

/** Nobody owns the job's next move from here on, or `by` does. One that is past its ceiling is ended, as is one of an
 *  earlier boot of the same owner. Throws transition_owned. */
export async function clearTheWay(tx: Queryable, job: PipelineRow, by?: Owner): Promise<Cleared> {
  const live = await owned(tx, job)
  if (!live) return {}
  const { owner, boot_id, token, is_expired } = live
  const isTheirs = by !== undefined && by.owner === owner && by.token_id === live.token_id
  const isSame = isTheirs && by.boot_id === boot_id
  if (isSame && !is_expired) return { live }
  if (!isTheirs && !is_expired) throw ownedByAnother(live)
  const outcome = isTheirs && !isSame ? 'taken_over' : 'expired'
  if (!(await endTransitionIfLive(tx, token, outcome))) {
    throw new Error(`a transition of job ${job.id} changed under its lock`)
  }
  return { displaced: { owner, boot_id, outcome } }
}

/** Who owns the job's next move. */
async function owned(tx: Queryable, { id, waiting_for }: PipelineRow) {
  return waiting_for === 'transition' ? await findLiveTransition(tx, id) : undefined
}

/** Who owns it, where it is whom the caller means. Throws transition_owned. */
export async function ownedBy(
  tx: Queryable,
  job: PipelineRow,
  meant: { owner?: string | undefined; boot_id?: string | undefined },
) {
  const live = await owned(tx, job)
  const { owner = live?.owner, boot_id = live?.boot_id } = meant
  if (live && (live.owner !== owner || live.boot_id !== boot_id)) throw ownedByAnother(live)
  return live
}

function ownedByAnother({ owner, boot_id, begun_at, expires_at }: TransitionRow): AppError {
  return new AppError('transition_owned', `${owner} owns the next move until ${expires_at}`, {
    facts: { owner, boot_id, begun_at, expires_at },
  })
}

export interface Move extends Pick<NewMove, 'by'> {
  from: Stage
  target: Target
  to: string
  reason?: string | undefined
  keyed?: { idempotency_key: string; body_hash: Buffer } | null
  /** Who owned it. */
  owner?: string
  displaced?: Cleared['displaced']
}

/** One move and all that goes with it: the job, its stages, the history, the audit. */
export async function makeMove(
  tx: Queryable,
  actor: Actor,
  job: PipelineRow,
  { from, target, by, to, reason, keyed, owner, displaced }: Move,
): Promise<{ placed: PlacedRow; moved: MoveRow }> {
  const placed = await moveJobIfThere(tx, job, target)
  // It was judged under its lock: a miss is a fault of ours, and nothing may commit.
  if (!placed) throw new Error(`job ${job.id} changed under its lock`)
  const { undoneFrom, isApproved } = marksOf(from, target)
  if (undoneFrom !== undefined) await undoStagesFrom(tx, job.id, undoneFrom)
  if (isApproved) await approveStage(tx, job.id, from.position)
  const { idempotency_key = null, body_hash = null } = keyed ?? {}
  const moved = await recordMove(tx, job, to, {
    by,
    token_id: actor.tokenId,
    reason: reason ?? null,
    idempotency_key,
    body_hash,
  })
  const facts = { from: from.name, to, move: moved.move, owner, displaced }
  await audit(tx, actor, { action: 'job.transition', subject: job.id, reason, facts })
  return { placed, moved }
}

export function staleToken(outcome: TransitionOutcome | null | undefined): AppError {
  const how = outcome === undefined ? 'no transition is under way with it' : `it was ${outcome}`
  return new AppError('stale_token', `${how}: own the move again before you make it`, {
    facts: { outcome: outcome ?? null },
  })
}
