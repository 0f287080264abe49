import { randomUUID } from 'node:crypto'
import type { Job, JobAnswer } from '../contract/jobs.ts'
import type {
  MoveList,
  Transition,
  TransitionAbandon,
  TransitionAnswer,
  TransitionBeginInput,
  TransitionBegun,
  TransitionCommit,
} from '../contract/transitions.ts'
import type { CallReplica } from './transport.ts'

/** Moves of jobs between their stages (docs/stages.md), with a token of role operator or admin; the list for readers. */
export class Transitions {
  readonly #call: CallReplica

  constructor(call: CallReplica) {
    this.#call = call
  }

  /** Moves a job to another stage that nobody works on: approves, advances, sends back. Without an idempotency key it
   *  gets a random one, so that a lost answer is asked for again and never moves it twice. Throws ApiError
   *  stage_mismatch, job_leased, job_final, cancel_requested, effect_in_doubt, transition_owned. */
  move(jobId: string, transition: Transition): Promise<TransitionAnswer> {
    const { idempotency_key = randomUUID() } = transition
    const body = { ...transition, idempotency_key }
    return this.#call({ method: 'POST', path: pathOf(jobId, 'transition'), body })
  }

  /** Owns the next move of a job, for what must be done before it; the job waits meanwhile. The same owner and boot_id
   *  get the same token. Throws ApiError as `move` does. */
  begin(jobId: string, begin: TransitionBeginInput): Promise<TransitionBegun> {
    return this.#call({ method: 'POST', path: pathOf(jobId, 'transition/begin'), body: begin })
  }

  /** Makes the move that was begun. Throws ApiError stale_token when it was ended otherwise. */
  commit(jobId: string, commit: TransitionCommit): Promise<TransitionAnswer> {
    return this.#call({ method: 'POST', path: pathOf(jobId, 'transition/commit'), body: commit })
  }

  /** Gives it up, or takes it from whoever owns it, by force; the job is what it was, or cancelled if that was asked for
   *  meanwhile. Throws ApiError stale_token. */
  async abandon(jobId: string, abandon: TransitionAbandon): Promise<Job> {
    const { job } = await this.#call<JobAnswer>({
      method: 'POST',
      path: pathOf(jobId, 'transition/abandon'),
      body: abandon,
      // By force, a second one might meet whoever owns it next.
      isRepeatable: abandon.token !== undefined || abandon.boot_id !== undefined,
    })
    return job
  }

  /** A page of the moves of a job, oldest first. */
  list(jobId: string, { cursor }: { cursor?: number | undefined } = {}): Promise<MoveList> {
    const query = cursor === undefined ? '' : `?cursor=${cursor}`
    return this.#call({ path: `${pathOf(jobId, 'moves')}${query}` })
  }
}

function pathOf(jobId: string, verb: string): string {
  return `/v1/jobs/${encodeURIComponent(jobId)}/${verb}`
}
