import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job, JobSummary } from '../../../src/contract/jobs.ts'
import { ApiError, Client, UnavailableError } from '../../../src/sdk/index.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import type { DeskOrders } from './actors.ts'
import { Dice } from './dice.ts'
import { Outside } from './outside.ts'
import { jobOf, releaseQueue } from './release.ts'

/** Submits releases at a steady rate and sees each to its end: approves it, cancels some, says of what is in doubt
 *  whether it was done, and retries what failed. Told on stdin how; after SIGTERM it submits no more. */
const orders = JSON.parse(await text(process.stdin)) as DeskOrders
const { actor, urls, token, ratePerSecond, workMs } = orders
const recorder = new Recorder(orders.history)
recordRequests(recorder, actor)
const outside = new Outside(orders.outside)
const client = new Client({ urls, token })
const stopping = new AbortController()
process.on('SIGTERM', () => stopping.abort())

const againMs = 100
const lookMs = 1_000
/** Where a cancel is to come in the critical section, that lasts for some looks, and for some heartbeats. */
const inSection = { lookMs: 250, sectionMs: 1_500 }
/** A cancel at any time comes within so many steps of the job's work. */
const cancelWithinSteps = 12
const doubts = ['hold', 'reconcile', 'retry'] as const

/** What becomes of a release, by its number. */
interface Plan {
  breaks: boolean
  /** section: once it is in its critical section. */
  cancel: 'section' | 'any time' | undefined
  cancelAt: number
}

const asItIs: Plan = { breaks: false, cancel: undefined, cancelAt: 0 }

function planOf(n: number): Plan {
  const cancels = { 1: 'any time', 5: 'section' } as const
  const cancelAt = performance.now() + new Dice(n).roll() * cancelWithinSteps * workMs
  return { breaks: n % 8 === 3, cancel: cancels[(n % 8) as 1 | 5], cancelAt }
}

/** Again and again while nobody serves it. undefined: it was refused, because somebody else was faster. */
async function insist<T>(call: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (error instanceof ApiError && error.status === 409) return undefined
      if (!(error instanceof UnavailableError)) throw error
      await sleep(againMs)
    }
  }
}

async function release(n: number): Promise<void> {
  const plan = planOf(n)
  const onDoubt = doubts[n % 3] ?? 'hold'
  const sectionMs = plan.cancel === 'section' ? inSection.sectionMs : workMs
  const job = jobOf({ ms: workMs, sectionMs, onDoubt, breaks: plan.breaks })
  const key = `${actor}-${process.pid}-${n}`
  const submitted = await insist(() => client.submit({ ...job, idempotency_key: key }))
  if (!submitted) throw new Error(`${key} was refused`)
  const ended = await see(submitted.job.id, plan)
  if (ended.state !== 'failed' || !plan.breaks) return
  const retried = await insist(() => client.retryJob(ended.id))
  if (retried) await see(retried.job.id, { ...plan, breaks: false })
}

/** To its end. */
async function see(id: string, plan: Plan): Promise<Job> {
  const waitMs = plan.cancel === 'section' ? inSection.lookMs : lookMs
  for (;;) {
    const job = await insist(() => client.waitForJob(id, waitMs))
    if (job?.finished_at) return job
    if (job) await insist(() => attend(job, plan))
  }
}

async function attend(job: Job, plan: Plan): Promise<void> {
  const { id, move, stage, waiting_for, critical_until, cancel_requested_at } = job
  if (waiting_for === 'effect') await resolve(id)
  const isDue =
    plan.cancel === 'section' ? critical_until !== null : performance.now() >= plan.cancelAt
  if (plan.cancel && isDue && cancel_requested_at === null) await client.cancelJob(id)
  else if (waiting_for === 'decision' && stage) {
    await client.transitions.move(id, { expected_stage: stage, expected_move: move, to: 'deploy' })
  }
}

/** Those that came late, after all others: a submit that got stuck, and was repeated elsewhere, makes a job of its own if
 *  the other was cancelled by then, as a cancel gives the key up. Nobody was told of it. */
async function listLive(): Promise<JobSummary[]> {
  const pages = await Promise.all(
    (['available', 'leased', 'waiting'] as const).map((state) =>
      insist(() => client.listJobs({ queue: releaseQueue, state })),
    ),
  )
  return pages.flatMap((page) => page?.jobs ?? [])
}

/** An operator looks outside. */
async function resolve(id: string): Promise<void> {
  const { effects } = await client.listEffects(id)
  for (const { key, effect_token, holds } of effects) {
    if (!holds) continue
    const outcome = (await outside.has(effect_token)) ? 'committed' : 'aborted'
    await client.resolveEffect(id, key, { outcome, note: 'looked outside' })
  }
}

const open = new Set<Promise<void>>()
const startedAt = performance.now()
for (let n = 0; !stopping.signal.aborted; n += 1) {
  const seen = release(n).finally(() => open.delete(seen))
  open.add(seen)
  const dueAt = startedAt + ((n + 1) * 1_000) / ratePerSecond
  await sleep(Math.max(0, dueAt - performance.now()), undefined, { signal: stopping.signal }).catch(
    () => undefined,
  )
}
await Promise.all(open)
// Twice: one that moves between two of the reads of one look is in neither.
for (let empty = 0; empty < 2; ) {
  const live = await listLive()
  empty = live.length === 0 ? empty + 1 : 0
  await Promise.all(live.map(({ id }) => see(id, asItIs)))
}
await client.close()
outside.close()
recorder.close()
