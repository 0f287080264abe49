import type { Job } from '../contract/jobs.ts'
import type {
  MoveList,
  MoveListQuery,
  Transition,
  TransitionAbandon,
  TransitionAnswer,
  TransitionBegin,
  TransitionBegun,
  TransitionCommit,
} from '../contract/transitions.ts'
import { AppError, isUnavailable } from '../errors.ts'
import type { Doors } from '../sql/doors.ts'
import type { PlacedRow } from '../sql/jobs.ts'
import { findMove, findMoveByKey, listMoves } from '../sql/moves.ts'
import type { Queryable } from '../sql/pool.ts'
import type { PipelineRow } from '../sql/stages.ts'
import {
  endTransitionIfLive,
  findTransition,
  holdForTransition,
  insertTransition,
  releaseFromTransition,
  wasTakenOver,
} from '../sql/transitions.ts'
import { type Actor, audit } from './audit.ts'
import { hashOf } from './body-hash.ts'
import type { Jobs, Reader } from './jobs.ts'
import { Lanes } from './lane.ts'
import { beingCancelled, knownJobId } from './lease-calls.ts'
import {
  clearTheWay,
  findStage,
  judge,
  lockJob,
  type Move,
  makeMove,
  ownedBy,
  pathTo,
  staleToken,
} from './moving.ts'

export interface TransitionsOptions {
  /** For what clients ask for. */
  clientDb: Queryable
  doors: Doors
  jobs: Jobs
  /** Jobs are elsewhere, or wait no longer. */
  onPlaced(rows: PlacedRow[]): void
}

/** What one transaction came to, and whom to tell of it once it is committed. */
type Done<T> = ({ answer: T } | { refusal: AppError }) & { moved: PlacedRow[] }

/** Moves of jobs between their stages that outside actors make, on any replica. Each is judged under the row lock of its
 *  job: of any number of concurrent callers one moves it, and the rest are told where it is. */
export class Transitions {
  readonly #o: TransitionsOptions
  /** Who would move the same job asks in turn: they would wait for its row, each with a session of the pool. */
  readonly #lanes = new Lanes(isUnavailable)

  constructor(options: TransitionsOptions) {
    this.#o = options
  }

  /** The same idempotency key is answered as the first time. Throws job_final, stage_mismatch, job_leased,
   *  effect_in_doubt, transition_owned, cancel_requested and idempotency_mismatch. */
  async transition(
    actor: Actor,
    jobId: string,
    { idempotency_key: key, ...body }: Transition,
  ): Promise<TransitionAnswer> {
    const keyed = key === undefined ? null : { idempotency_key: key, body_hash: hashOf(body) }
    return await this.#act(jobId, async (tx, job) => {
      const before = keyed && (await findMoveByKey(tx, job.id, keyed.idempotency_key))
      if (keyed && before) {
        const { body_hash, ...moved } = before
        if (!body_hash.equals(keyed.body_hash)) throw mismatch(moved.move)
        return replay({ job: await this.#read(tx, job.id), moved })
      }
      const stages = await findStage(tx, job, body.expected_stage)
      const target = pathTo(stages, body.to)
      judge(job, body)
      const { displaced } = await clearTheWay(tx, job)
      if (job.cancel_requested_at !== null) return await refuseCancelled(tx, job)
      const { from } = stages
      const move = { from, target, by: 'transition', keyed, displaced, ...body } as const
      return await this.#move(tx, actor, job, move)
    })
  }

  /** Again by the same owner and boot: the same token. Throws as transition does, and stale_token for a process that a
   *  new one of its owner came after. */
  async begin(actor: Actor, jobId: string, body: TransitionBegin): Promise<TransitionBegun> {
    const { owner, boot_id, ceiling_ms } = body
    return await this.#act(jobId, async (tx, job) => {
      const { from } = await findStage(tx, job, body.expected_stage)
      judge(job, body)
      const by = { owner, boot_id, token_id: actor.tokenId }
      if (await wasTakenOver(tx, job.id, by)) throw staleToken('taken_over')
      const { live, displaced } = await clearTheWay(tx, job, by)
      if (live) return { answer: toBegun(live), moved: [] }
      if (job.cancel_requested_at !== null) return await refuseCancelled(tx, job)
      const where = { job_id: job.id, stage: from.name, move: job.move }
      if (job.waiting_for !== 'transition' && !(await holdForTransition(tx, where))) {
        throw new Error(`job ${job.id} changed under its lock`)
      }
      const begun = await insertTransition(tx, { ...where, ...by, ceiling_ms })
      const facts = { stage: from.name, move: job.move, owner, boot_id, displaced }
      await audit(tx, actor, { action: 'transition.begin', subject: job.id, facts })
      return { answer: toBegun(begun), moved: [] }
    })
  }

  /** The same again is answered as the first. Throws stale_token for one that was ended otherwise. */
  async commit(
    actor: Actor,
    jobId: string,
    { token, to, reason }: TransitionCommit,
  ): Promise<TransitionAnswer> {
    return await this.#act(jobId, async (tx, job) => {
      const transition = await findTransition(tx, job.id, token)
      if (!transition) throw staleToken(undefined)
      const { stage, outcome, committed_move, owner } = transition
      if (committed_move !== null) {
        const moved = await findMove(tx, job.id, committed_move)
        if (moved?.to_stage !== to) throw staleToken(outcome)
        return replay({ job: await this.#read(tx, job.id), moved })
      }
      const stages = await findStage(tx, job, stage)
      const { from } = stages
      const target = pathTo(stages, to, true)
      // The claim first, then the act: whoever else would end it has lost from here on.
      if (!(await endTransitionIfLive(tx, token, 'committed', job.move + 1))) {
        throw staleToken(outcome)
      }
      return await this.#move(tx, actor, job, { from, target, by: 'commit', to, reason, owner })
    })
  }

  /** The job is what it was. By force it is taken from whoever owns it, or from the one that is named. Throws
   *  stale_token, and transition_owned where another than that owns it. */
  async abandon(actor: Actor, jobId: string, abandon: TransitionAbandon): Promise<Job> {
    const { token, note } = abandon
    return await this.#act(jobId, async (tx, job) => {
      const transition =
        token === undefined
          ? await ownedBy(tx, job, abandon)
          : await findTransition(tx, job.id, token)
      const outcome = token === undefined ? 'forced' : 'abandoned'
      if (!transition) throw staleToken(undefined)
      if (transition.outcome === outcome) return { answer: await this.#read(tx, job.id), moved: [] }
      if (!(await endTransitionIfLive(tx, transition.token, outcome))) {
        throw staleToken(transition.outcome)
      }
      const moved = await releaseFromTransition(tx, [job.id])
      const { stage, owner, boot_id } = transition
      await audit(tx, actor, {
        action: token === undefined ? 'transition.force' : 'transition.abandon',
        subject: job.id,
        reason: note,
        facts: { stage, move: transition.move, owner, boot_id },
      })
      return { answer: await this.#read(tx, job.id), moved }
    })
  }

  /** Every move that a job has made, oldest first. */
  async list(jobId: string, reader: Reader, query: MoveListQuery): Promise<MoveList> {
    const { clientDb, jobs } = this.#o
    const { cursor = 0, limit } = query
    const { id } = await jobs.get(jobId, reader)
    const moves = await listMoves(clientDb, id, { after: cursor, limit: limit + 1 })
    const page = moves.slice(0, limit)
    const last = page.at(-1)
    return { moves: page, next_cursor: moves.length > limit && last ? last.move : null }
  }

  async #move(tx: Queryable, actor: Actor, job: PipelineRow, move: Move) {
    const { placed, moved } = await makeMove(tx, actor, job, move)
    return { answer: { job: await this.#read(tx, job.id), moved }, moved: [placed] }
  }

  async #read(tx: Queryable, jobId: string): Promise<Job> {
    const [job] = await this.#o.jobs.read(tx, [jobId])
    if (!job) throw new Error(`job ${jobId} is gone from under its lock`)
    return job
  }

  async #act<T>(
    jobId: string,
    fn: (tx: Queryable, job: PipelineRow) => Promise<Done<T>>,
  ): Promise<T> {
    const { doors, onPlaced } = this.#o
    const id = knownJobId(jobId)
    const act = () => doors.asClient(async (tx) => await fn(tx, await lockJob(tx, id)))
    const done = await this.#lanes.run(id, act)
    onPlaced(done.moved)
    if ('refusal' in done) throw done.refusal
    return done.answer
  }
}

/** A cancel waited for an owner who is gone, and for nothing else: that is committed, and the caller refused. */
async function refuseCancelled(tx: Queryable, { id }: PipelineRow) {
  return { refusal: beingCancelled(), moved: await releaseFromTransition(tx, [id]) }
}

function replay(answer: Omit<TransitionAnswer, 'replayed'>): Done<TransitionAnswer> {
  return { answer: { ...answer, replayed: true }, moved: [] }
}

function toBegun({ token, expires_at }: TransitionBegun): TransitionBegun {
  return { token, expires_at }
}

function mismatch(move: number): AppError {
  return new AppError('idempotency_mismatch', `idempotency_key: move ${move} has it, and differs`, {
    faults: [{ path: 'idempotency_key', message: `belongs to move ${move} of this job` }],
  })
}
