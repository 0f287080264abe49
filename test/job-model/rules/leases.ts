import type { Ending, Job, Stage, State } from './state.ts'
import { limits } from './state.ts'

/** How leases end. Whatever was begun under one is in doubt from then on. */

/** Where a job goes whose lease has ended. */
function goTo(job: Job, state: Job['state'], waitingFor: Job['waitingFor'] = null): void {
  job.state = state
  job.waitingFor = waitingFor
}

/** In a stage that it has just come to. */
export function enter(job: Job, stage: Stage): void {
  job.stage = stage.name
  job.attempt = 0
  job.lostLeases = 0
  if (stage.manual) goTo(job, 'waiting', 'decision')
  else goTo(job, 'available')
}

export function positionOf(job: Job, name: string | null): number {
  return job.stages.findIndex((stage) => stage.name === name)
}

/** The lease is over; whoever lost it must not write again, so that then the fence rises. */
function close(job: Job, ending: Ending, isTaken: boolean): void {
  const { holder } = job
  if (!holder) throw new Error('the model ends a lease that is not there')
  const { executor, epoch, fence, attempt } = holder
  const { id, stage } = job
  job.attempts.push({ job: id, executor, epoch, fence, attempt, ending, stage })
  job.holder = null
  job.isScheduled = false
  if (isTaken) job.fence += 1
  for (const effect of Object.values(job.effects)) {
    if (effect.state === 'begun') effect.state = 'in_doubt'
  }
}

/** Whoever was asked to stop goes nowhere else. */
function heedCancel(job: Job): void {
  if (!job.isCancelRequested) return
  goTo(job, 'cancelled')
  job.isScheduled = false
  for (const effect of Object.values(job.effects)) effect.holds = false
}

export function endBySuccess(job: Job): void {
  close(job, 'succeeded', false)
  const here = positionOf(job, job.stage)
  const [stage, next] = [job.stages[here], job.stages[here + 1]]
  if (stage) stage.isDone = true
  if (!stage || !next) {
    goTo(job, 'succeeded')
    return
  }
  job.move += 1
  job.moves.push({
    move: job.move,
    from: stage.name,
    to: next.name,
    by: 'report',
    key: null,
    body: null,
  })
  enter(job, next)
  heedCancel(job)
}

/** A failure of the job's own spends an attempt. */
export function endByFailure(state: State, job: Job, isRetryable: boolean, isTaken: boolean): void {
  close(job, 'failed', isTaken)
  if (!isRetryable || job.attempt >= job.maxAttempts) goTo(job, 'failed')
  else {
    goTo(job, 'available')
    job.isScheduled = true
    // The backoff of these jobs is a millisecond: they are due at once, and still have to be woken.
    job.runAt = state.now
  }
  heedCancel(job)
}

export function endByCancel(job: Job, isTaken: boolean): void {
  close(job, 'cancelled', isTaken)
  goTo(job, 'cancelled')
}

/** Given back, by itself or in its name: nothing is spent. */
export function endByReturn(job: Job, ending: 'released' | 'undelivered', isTaken: boolean): void {
  close(job, ending, isTaken)
  job.attempt -= 1
  goTo(job, 'available')
  heedCancel(job)
}

/** The executor is gone: that has a budget of its own. */
export function endByLoss(job: Job): void {
  close(job, 'lost', true)
  job.attempt -= 1
  job.lostLeases += 1
  goTo(job, job.lostLeases > limits.lostLeaseBudget ? 'failed' : 'available')
  heedCancel(job)
}

/** An operator has to say whether an effect was done. */
export function endByDoubt(job: Job): void {
  close(job, 'released', true)
  job.attempt -= 1
  goTo(job, 'waiting', 'effect')
  heedCancel(job)
}

/** What an executor holds, when it registers anew or leaves. */
export function leasesOf(state: State, executor: string): Job[] {
  return Object.values(state.jobs).filter(({ holder }) => holder?.executor === executor)
}
