import { randomUUID } from 'node:crypto'
import { JobSubmit } from '../../src/contract/jobs.ts'
import type { Wiring } from '../../src/services/wire.ts'
import type { ClientCall, LeaderCall, Lease } from './calls.ts'
import type { Replica } from './replica.ts'

/** Calls of the model, as the routes would pass them to the services. */

type Given = Record<string, unknown>
type Of<Kind extends (LeaderCall | ClientCall)['do']> = Extract<
  LeaderCall | ClientCall,
  { do: Kind }
>

const queue = 'modelled'
const minute = 60_000
const anyone = { queues: null }
const tokenId = 'model'
const operator = { tokenId, role: 'operator', requestId: tokenId } as const
const executorItself = { tokenId, role: 'executor', requestId: tokenId } as const

export async function askLeader(replica: Replica, call: LeaderCall): Promise<Given> {
  const { wiring } = replica
  switch (call.do) {
    case 'register':
      return await register(wiring, call)
    case 'deregister':
      return await deregister(wiring, call)
    case 'poll':
      return await poll(replica, call)
    case 'heartbeat':
      return await heartbeat(wiring, call)
    case 'report':
      return await report(wiring, call)
    case 'begin':
      return await begin(wiring, call)
    case 'settle':
      return await settle(wiring, call)
    case 'critical':
      return await critical(wiring, call)
    case 'sweep':
      await replica.sweep(call.name)
      return {}
  }
}

export async function askAny(wiring: Wiring, call: ClientCall): Promise<Given> {
  switch (call.do) {
    case 'submit':
      return await submit(wiring, call)
    case 'cancel':
      await wiring.cancels.cancel(call.job, anyone, {})
      return {}
    case 'retry': {
      const { job, replayed } = await wiring.retries.retry(operator, anyone, call.job, {})
      return { job: job.id, isNew: replayed !== true }
    }
    case 'resolve':
      return await resolve(wiring, call)
    case 'transition':
      return await transition(wiring, call)
    case 'own':
      return await own(wiring, call)
    case 'commit':
      return await commit(wiring, call)
    case 'abandon':
      return await abandon(wiring, call)
  }
}

async function register({ executors }: Wiring, { executor }: Of<'register'>): Promise<Given> {
  const asked = { executor_id: executor, labels: {}, queues: [queue], capacity: 1 }
  const { epoch } = await executors.register(asked)
  return { epoch }
}

async function deregister(
  { executorHealth }: Wiring,
  { executor, epoch, by }: Of<'deregister'>,
): Promise<Given> {
  const actor = by === 'executor' ? executorItself : operator
  return { epoch: (await executorHealth.deregister(actor, executor, { epoch })).epoch }
}

/** An operator thinks well of it, whatever its jobs came to: health is no matter of this model. */
async function poll(replica: Replica, { executor, epoch, max }: Of<'poll'>): Promise<Given> {
  const { polls, directory, executorHealth } = replica.wiring
  const health = directory.find(executor)?.standing.health ?? 'healthy'
  if (health !== 'healthy') await executorHealth.clear(operator, executor, {})
  await replica.hear()
  const asked = { epoch, max, wait_ms: 0, poll_id: randomUUID() }
  const given = await polls.poll(executor, asked, new AbortController().signal)
  return {
    given: given.map(({ job_id: job, fence, attempt, stage }) => ({ job, fence, attempt, stage })),
  }
}

async function heartbeat(
  { heartbeats }: Wiring,
  { executor, epoch, listed }: Of<'heartbeat'>,
): Promise<Given> {
  const assignments = listed.map(({ job: job_id, fence }) => ({ job_id, fence }))
  const { held, cancel, revoked } = await heartbeats.beat(executor, { epoch, assignments })
  const name = ({ job_id, fence }: { job_id: string; fence: number }) => `${job_id} ${fence}`
  return {
    held: held.map(name),
    cancel: cancel.map(name),
    revoked: revoked.map((lease) => `${name(lease)} ${lease.reason}`),
  }
}

async function report(
  { reports }: Wiring,
  { lease, outcome, retryable }: Of<'report'>,
): Promise<Given> {
  const failure = { code: 'broken', message: '', retryable }
  const error = outcome === 'failed' ? { error: failure } : {}
  const item = { job_id: lease.job, fence: lease.fence, outcome, ...error }
  const [result] = await reports.report(lease.executor, { epoch: lease.epoch, reports: [item] })
  const { status, reason, job_state: state } = result ?? {}
  return reason === undefined ? { status, state } : { status, reason, state }
}

function inNameOf({ executor: executor_id, epoch, fence }: Lease) {
  return { executor_id, epoch, fence }
}

async function begin(
  { effects }: Wiring,
  { lease, key, beginId: begin_id, onDoubt: on_doubt }: Of<'begin'>,
): Promise<Given> {
  const asked = { ...inNameOf(lease), begin_id, on_doubt }
  const { outcome, effect_token, ...begun } = await effects.begin({ job_id: lease.job, key }, asked)
  return { outcome, token: effect_token, onDoubt: begun.on_doubt }
}

async function settle(
  { effects }: Wiring,
  { lease, key, beginId: begin_id, as }: Of<'settle'>,
): Promise<Given> {
  const asked = { ...inNameOf(lease), begin_id }
  const target = { job_id: lease.job, key }
  const { state } =
    as === 'committed' ? await effects.commit(target, asked) : await effects.abort(target, asked)
  return { state }
}

async function resolve({ effects }: Wiring, { job, key, as }: Of<'resolve'>): Promise<Given> {
  const asked = { outcome: as, note: 'looked' }
  const { state } = await effects.resolve(operator, anyone, { job_id: job, key }, asked)
  return { state }
}

async function critical(
  { cancels }: Wiring,
  { lease, enter, ceilingMin }: Of<'critical'>,
): Promise<Given> {
  const ceiling = enter ? { ceiling_ms: ceilingMin * minute } : {}
  const asked = { ...inNameOf(lease), enter, ...ceiling }
  const { critical_until, cancel } = await cancels.critical(lease.job, asked)
  return { isInSection: critical_until !== null, isToStop: cancel !== null }
}

async function submit({ jobs }: Wiring, call: Of<'submit'>): Promise<Given> {
  const { key, maxAttempts, delayMin, timeoutMin, stages } = call
  const { job, replayed } = await jobs.submit(
    JobSubmit.parse({
      kind: 'k',
      queue,
      max_attempts: maxAttempts,
      backoff: { base_ms: 1, cap_ms: 1 },
      ...(delayMin > 0 && { delay_ms: delayMin * minute }),
      ...(timeoutMin !== null && { run_timeout_ms: timeoutMin * minute }),
      ...(stages.length > 0 && { stages }),
      ...(key !== null && { idempotency_key: key }),
    }),
  )
  return { job: job.id, isNew: replayed !== true }
}

async function transition({ transitions }: Wiring, call: Of<'transition'>): Promise<Given> {
  const { job, from, move, to, key } = call
  const { moved, replayed } = await transitions.transition(operator, job, {
    expected_stage: from,
    to,
    ...(move !== null && { expected_move: move }),
    ...(key !== null && { idempotency_key: key }),
  })
  return { move: moved.move, to: moved.to_stage, isNew: replayed !== true }
}

async function own({ transitions }: Wiring, call: Of<'own'>): Promise<Given> {
  const { job, from, owner, boot: boot_id, ceilingMin } = call
  const asked = { expected_stage: from, owner, boot_id, ceiling_ms: ceilingMin * minute }
  return { token: (await transitions.begin(operator, job, asked)).token }
}

async function commit({ transitions }: Wiring, { job, token, to }: Of<'commit'>): Promise<Given> {
  const { moved, replayed } = await transitions.commit(operator, job, { token, to })
  return { move: moved.move, to: moved.to_stage, isNew: replayed !== true }
}

async function abandon({ transitions }: Wiring, { job, token }: Of<'abandon'>): Promise<Given> {
  const asked = token === null ? { force: true as const, note: 'by force' } : { token }
  await transitions.abandon(operator, job, asked)
  return {}
}
