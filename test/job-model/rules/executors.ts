import type { Answer, Call, Lease } from '../calls.ts'
import { isRefused } from '../calls.ts'
import {
  endByCancel,
  endByFailure,
  endByLoss,
  endByReturn,
  endBySuccess,
  leasesOf,
} from './leases.ts'
import {
  heldBy,
  isCancelInForce,
  isFinal,
  isInSection,
  type Job,
  limits,
  ok,
  refuse,
  type State,
  wasHeldBy,
} from './state.ts'

/** What executors ask for. Each of these changes the state that it is given, and answers. */

export type Of<Kind extends Call['do']> = Extract<Call, { do: Kind }>

function isCurrent(state: State, executor: string, epoch: number): boolean {
  const known = state.executors[executor]
  return known?.epoch === epoch && known.leftAs !== epoch - 1
}

export function register(state: State, { executor }: Of<'register'>): Answer {
  for (const job of leasesOf(state, executor)) endByLoss(job)
  const { epoch: before = 0, leftAs = null } = state.executors[executor] ?? {}
  const epoch = before + 1
  state.executors[executor] = { epoch, leftAs }
  delete state.lastPolls[executor]
  return ok({ epoch })
}

export function deregister(state: State, { executor, epoch, by }: Of<'deregister'>): Answer {
  const known = state.executors[executor]
  if (!known) return refuse('not_found')
  if (known.leftAs === epoch) return ok({ epoch })
  if (!isCurrent(state, executor, epoch)) return refuse('stale_epoch')
  for (const job of leasesOf(state, executor)) {
    if (by === 'executor') endByReturn(job, 'released', true)
    else endByLoss(job)
  }
  state.executors[executor] = { epoch: epoch + 1, leftAs: epoch }
  delete state.lastPolls[executor]
  return ok({ epoch })
}

interface Given {
  job: string
  fence: number
  attempt: number
  stage: string | null
}

/** Which jobs are given is the system's choice; how many is not, unless others are at them at the same time. */
export function poll(state: State, call: Of<'poll'>, seen: Answer, isAlone: boolean): Answer {
  const { executor, epoch, max, pollId } = call
  if (!state.executors[executor]) return refuse('not_found')
  if (!isCurrent(state, executor, epoch)) return refuse('stale_epoch')
  const again = state.lastPolls[executor] === pollId ? stillHeld(state, executor, pollId) : []
  if (again.length > 0) return ok({ given: again })
  const claimable = Object.values(state.jobs).filter(
    (job) => job.state === 'available' && !job.isScheduled && !job.isCancelRequested,
  )
  const given = isRefused(seen) ? [] : (seen.ok.given as Given[])
  const chosen = given.flatMap(({ job }) => claimable.filter(({ id }) => id === job))
  const isEnough = !isAlone || chosen.length === Math.min(max, claimable.length)
  if (!isEnough || chosen.length > max) {
    const ids = claimable.map(({ id }) => id)
    return ok({ given: `${Math.min(max, claimable.length)} of ${ids.join(', ') || 'none'}` })
  }
  if (chosen.length > 0) state.lastPolls[executor] = pollId
  return ok({ given: chosen.map((job) => claim(state, job, call)) })
}

/** The same poll again: its answer got lost, and with it the offers are on their way anew. */
function stillHeld(state: State, executor: string, pollId: string): Given[] {
  return leasesOf(state, executor)
    .filter(({ holder }) => holder?.pollId === pollId)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, holder, fence, attempt, stage }) => {
      if (holder?.isOffered) holder.offer = { missedAt: null }
      return { job: id, fence, attempt, stage }
    })
}

function claim(state: State, job: Job, { executor, epoch, pollId }: Of<'poll'>): Given {
  const { id, stage } = job
  job.state = 'leased'
  job.fence += 1
  job.attempt += 1
  state.claims += 1
  const { fence, attempt } = job
  job.holder = {
    job: id,
    executor,
    epoch,
    fence,
    attempt,
    pollId,
    place: state.claims,
    since: state.now,
    expiresAt: state.now + limits.leaseTtl,
    isOffered: true,
    offer: { missedAt: null },
    isGoingBack: false,
    critical: null,
  }
  return { job: id, fence, attempt, stage }
}

/** Who is heard holds on. */
function renew(state: State, lease: Lease): Job | undefined {
  const held = heldBy(state, lease)
  if (!held) return undefined
  held.holder.expiresAt = state.now + limits.leaseTtl
  held.holder.isOffered = false
  held.holder.offer = null
  return held.job
}

export function heartbeat(state: State, { executor, epoch, listed }: Of<'heartbeat'>): Answer {
  if (!state.executors[executor]) return refuse('not_found')
  if (!isCurrent(state, executor, epoch)) return refuse('stale_epoch')
  const held = listed.filter((lease) => renew(state, lease))
  const cancel = held.filter((lease) => {
    const job = state.jobs[lease.job] as Job
    if (!isCancelInForce(state, job)) return false
    job.cancelToldAt ??= state.now
    return true
  })
  const revoked = listed.filter((lease) => !heldBy(state, lease))
  const answer = ok({
    held: held.map(name),
    cancel: cancel.map(name),
    revoked: revoked.map((lease) => {
      const job = state.jobs[lease.job]
      return `${name(lease)} ${job && isFinal(job) ? 'already_final' : 'stale_fence'}`
    }),
  })
  missOffers(state, executor, listed)
  return answer
}

function name({ job, fence }: Lease): string {
  return `${job} ${fence}`
}

/** What two heartbeats, far enough apart, do not list goes back. */
function missOffers(state: State, executor: string, listed: Lease[]): void {
  for (const { id, holder } of leasesOf(state, executor)) {
    const isListed = listed.some(({ job, fence }) => job === id && fence === holder?.fence)
    if (!holder?.offer || isListed) continue
    const { missedAt } = holder.offer
    if (missedAt === null) holder.offer.missedAt = state.now
    else holder.isGoingBack = state.now - missedAt >= limits.beatsApart
  }
}

/** After the heartbeat, by a transaction of its own. What was shown meanwhile stays. */
export function giveBack(state: State, executor: string): void {
  for (const job of leasesOf(state, executor)) {
    if (!job.holder?.isGoingBack) continue
    job.holder.isGoingBack = false
    if (job.holder.isOffered) endByReturn(job, 'undelivered', true)
  }
}

/** In this order: not_found, stale_epoch, duplicate, already_final, stale_fence, else accepted. */
export function report(state: State, call: Of<'report'>): Answer {
  const { lease, outcome, retryable } = call
  const job = state.jobs[lease.job]
  if (!job) return ok({ status: 'rejected', reason: 'not_found', state: null })
  const reject = (reason: string) => {
    const { executor, epoch, fence } = lease
    const evidence = `${executor} ${epoch} ${fence} ${outcome}`
    const isTheirs = wasHeldBy(job, lease) || heldBy(state, lease)
    if (isTheirs && !job.late.includes(evidence)) job.late.push(evidence)
    return ok({ status: 'rejected', reason, state: job.state })
  }
  if (state.executors[lease.executor]?.epoch !== lease.epoch) return reject('stale_epoch')
  const isRepeated =
    wasHeldBy(job, lease) &&
    job.attempts.some(({ fence, ending }) => fence === lease.fence && ending === outcome)
  if (isRepeated) return ok({ status: 'duplicate', state: job.state })
  if (isFinal(job)) return reject('already_final')
  if (!heldBy(state, lease)) return reject('stale_fence')
  if (outcome === 'succeeded') endBySuccess(job)
  if (outcome === 'failed') endByFailure(state, job, retryable, false)
  if (outcome === 'cancelled') endByCancel(job, false)
  if (outcome === 'released') endByReturn(job, 'released', false)
  return ok({ status: 'accepted', state: job.state })
}

/** The job, renewed, or why the caller is refused. */
export function judge(state: State, lease: Lease): { job: Job } | { refusal: Answer } {
  if (!state.jobs[lease.job]) return { refusal: refuse('not_found') }
  const epoch = state.executors[lease.executor]?.epoch
  if (epoch !== lease.epoch) return { refusal: refuse('stale_epoch') }
  const job = renew(state, lease)
  return job ? { job } : { refusal: refuse('stale_fence') }
}

export function critical(state: State, { lease, enter, ceilingMin }: Of<'critical'>): Answer {
  const before = heldBy(state, lease)
  const { expiresAt, isOffered } = before?.holder ?? {}
  const judged = judge(state, lease)
  if ('refusal' in judged) return judged.refusal
  const { job } = judged
  const { holder } = job
  if (!holder) throw new Error('the model has renewed what nobody holds')
  if (!enter) holder.critical = null
  else if (!job.isCancelRequested && !isInSection(state, job)) {
    holder.critical = { since: state.now, ceiling: ceilingMin }
  }
  const isInForce = isCancelInForce(state, job)
  if (enter && isInForce) {
    // A refusal renews nothing; but the offer has arrived.
    Object.assign(holder, { expiresAt, isOffered })
    return refuse('cancel_requested')
  }
  return ok({ isInSection: isInSection(state, job), isToStop: isInForce })
}
