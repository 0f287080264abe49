import { expect, test } from 'vitest'
import { reasonMeanings } from '../../src/contract/explain.ts'
import { explain } from '../../src/domain/explain.ts'
import type { Candidate, ExplainedJob, Lease, Snapshot } from '../../src/domain/explain-facts.ts'
import { type JobState, jobMoves } from '../../src/domain/job.ts'
import { canServe, missingLabels } from '../../src/domain/matching.ts'

const at = '2026-01-01T00:00:00.000Z'
const leader = { isActive: true, isLed: true, term: 3, name: 'a', servedAt: at }
const nobody = { ...leader, isActive: false, isLed: false }

const job: ExplainedJob = {
  state: 'available',
  queue: 'q',
  requires: {},
  scheduled: false,
  runAt: at,
  isDue: true,
  attempt: 1,
  maxAttempts: 5,
  lostLeases: 0,
  lastOutcome: null,
  error: null,
  cancelRequestedAt: null,
  cancelReason: null,
  stage: null,
  move: 0,
  waitingFor: null,
  transition: null,
  heldBy: [],
  retriedAs: null,
  finishedAt: null,
}

const transition = { owner: 'o', bootId: 'b', begunAt: at, endsAt: at }

const held: Lease = {
  executorId: 'e',
  executorState: 'healthy',
  fence: 1,
  since: at,
  expiresAt: at,
  isOffered: false,
  heartbeatAt: at,
  silentMs: 15_000,
  suspectMs: 15_000,
  reclaimAt: at,
  cancelToldAt: null,
  cancelEndsAt: null,
  criticalUntil: null,
  runTimeoutMs: null,
  isPastRunTimeout: false,
  runEndsAt: null,
}

interface Given {
  state?: Candidate['state']
  health?: Candidate['standing']['health']
  is_draining?: boolean
  is_deregistered?: boolean
  leases?: number
  queues?: string[]
  labels?: Record<string, string>
}

function executor(given: Given = {}): Candidate {
  const { state = 'healthy', health = 'healthy', leases = 0, queues = ['q'], labels = {} } = given
  const { is_draining = false, is_deregistered = false } = given
  const standing = { health, is_draining, is_deregistered, changes: 0 }
  const queuesServed = new Set(queues)
  return {
    executorId: 'e',
    queues: queuesServed,
    labels,
    state,
    standing,
    capacity: 2,
    leases,
    heartbeatAt: at,
  }
}

function snapshot({
  job: more = {},
  ...rest
}: Partial<Omit<Snapshot, 'job'>> & { job?: Partial<ExplainedJob> }) {
  return {
    leader,
    lease: null,
    queue: null,
    mayNameExecutors: true,
    ...rest,
    job: { ...job, ...more },
  }
}

const codes = (given: Parameters<typeof snapshot>[0]) =>
  explain(snapshot(given)).map(({ code }) => code)
const claimable = (candidates: Candidate[], before = 0) => codes({ queue: { candidates, before } })

test.each<[string, Candidate[], number, string[]]>([
  ['nobody', [], 0, ['no_executor_for_queue']],
  ['another queue', [executor({ queues: ['r'] })], 0, ['no_executor_for_queue']],
  ['one that is gone', [executor({ is_deregistered: true })], 0, ['no_executor_for_queue']],
  ['one with room', [executor({ leases: 1 })], 0, ['waiting_its_turn']],
  ['one of two with room', [executor({ leases: 2 }), executor()], 3, ['waiting_its_turn']],
  ['full', [executor({ leases: 2 })], 0, ['executors_full']],
  ['full, others first', [executor({ leases: 3 })], 1, ['executors_full', 'waiting_its_turn']],
  ['draining', [executor({ is_draining: true })], 5, ['executors_draining']],
  ['faulty', [executor({ health: 'faulty' })], 0, ['executors_faulty']],
  [
    'faulty, draining',
    [executor({ health: 'faulty', is_draining: true })],
    0,
    ['executors_faulty'],
  ],
  ['degraded', [executor({ health: 'degraded' })], 0, ['waiting_its_turn']],
  ['degraded, busy', [executor({ health: 'degraded', leases: 1 })], 0, ['executors_degraded']],
  [
    'degraded, busy, draining',
    [executor({ health: 'degraded', leases: 1, is_draining: true })],
    0,
    ['executors_draining'],
  ],
  ['suspect', [executor({ state: 'suspect' })], 0, ['executors_silent', 'no_executor_for_queue']],
  [
    'lost, full',
    [executor({ state: 'lost', leases: 2 })],
    0,
    ['executors_silent', 'no_executor_for_queue'],
  ],
  [
    'one of each',
    [
      executor({ state: 'lost' }),
      executor({ health: 'degraded', leases: 1 }),
      executor({ health: 'faulty' }),
      executor({ is_draining: true }),
      executor({ leases: 2 }),
    ],
    0,
    [
      'executors_full',
      'executors_draining',
      'executors_faulty',
      'executors_degraded',
      'executors_silent',
    ],
  ],
])('a claimable job, %s', (_, candidates, before, expected) => {
  expect(claimable(candidates, before)).toEqual(expected)
})

test.each<[string, Parameters<typeof snapshot>[0], string[]]>([
  [
    'claimable, nobody active',
    { leader: nobody, queue: { candidates: [], before: 0 } },
    ['no_active_replica', 'no_executor_for_queue'],
  ],
  ['claimable, its cancel unfinished', { job: { cancelRequestedAt: at } }, ['cancel_requested']],
  ['scheduled', { job: { scheduled: true, isDue: false } }, ['scheduled']],
  [
    'scheduled, nobody active',
    { leader: nobody, job: { scheduled: true, isDue: false } },
    ['scheduled', 'no_active_replica'],
  ],
  [
    'due, nobody active',
    { leader: nobody, job: { scheduled: true } },
    ['no_active_replica', 'scheduled'],
  ],
  [
    'failed before',
    { job: { scheduled: true, isDue: false, lastOutcome: 'failed' } },
    ['backing_off'],
  ],
  ['given back before', { job: { scheduled: true, lastOutcome: 'released' } }, ['scheduled']],
  ['waiting', { job: { state: 'waiting', heldBy: ['k'] } }, ['effect_in_doubt']],
  [
    'waiting for a decision',
    { job: { state: 'waiting', waitingFor: 'decision', stage: 's' } },
    ['waiting_for_decision'],
  ],
  [
    'owned',
    { job: { state: 'waiting', waitingFor: 'transition', transition } },
    ['transition_owned'],
  ],
  [
    'owned, cancelled',
    { job: { state: 'waiting', waitingFor: 'transition', transition, cancelRequestedAt: at } },
    ['cancel_deferred', 'transition_owned'],
  ],
  ['waiting for nothing', { job: { state: 'waiting' } }, ['unexplained']],
  ['leased', { job: { state: 'leased' }, lease: held }, ['running']],
  [
    'offered',
    { job: { state: 'leased' }, lease: { ...held, isOffered: true } },
    ['offer_on_its_way', 'running'],
  ],
  [
    'its executor silent',
    { job: { state: 'leased' }, lease: { ...held, silentMs: 15_001 } },
    ['executor_silent', 'running'],
  ],
  [
    'its executor unheard, nobody active',
    { leader: nobody, job: { state: 'leased' }, lease: { ...held, silentMs: 15_001 } },
    ['running', 'no_active_replica'],
  ],
  [
    'overrun',
    { job: { state: 'leased' }, lease: { ...held, isPastRunTimeout: true } },
    ['past_run_timeout', 'running'],
  ],
  [
    'in a section',
    { job: { state: 'leased' }, lease: { ...held, criticalUntil: at } },
    ['running'],
  ],
  [
    'in a section, cancelled',
    { job: { state: 'leased', cancelRequestedAt: at }, lease: { ...held, criticalUntil: at } },
    ['cancel_deferred', 'running'],
  ],
  ['succeeded', { job: { state: 'succeeded', finishedAt: at } }, ['succeeded']],
  ['failed', { job: { state: 'failed', finishedAt: at } }, ['failed']],
  ['cancelled', { job: { state: 'cancelled', finishedAt: at } }, ['cancelled']],
])('a job that is %s', (_, given, expected) => {
  expect(codes(given)).toEqual(expected)
})

test('who may not know of executors is told how many there are, and of none', () => {
  const told = (mayNameExecutors: boolean, candidates: Candidate[]) =>
    explain(snapshot({ mayNameExecutors, queue: { candidates, before: 0 } }))
  const free = [executor()]
  const full = [executor({ leases: 2 })]
  expect(told(true, free)).toMatchObject([
    { facts: { free: 1, executors: [{ executor_id: 'e' }] } },
  ])
  expect(told(false, free)).toMatchObject([{ facts: { free: 1, executors: [] } }])
  expect(told(true, full)).toMatchObject([
    { facts: { full: 1, executors: [{ executor_id: 'e' }] } },
  ])
  expect(told(false, full)).toMatchObject([{ facts: { full: 1, executors: [] } }])
})

test('invariant 10: whatever its state, a job has a reason, and each is one of the contract', () => {
  for (const state of Object.keys(jobMoves) as JobState[]) {
    const [reason] = explain(snapshot({ job: { state } }))
    expect(reasonMeanings).toHaveProperty(reason?.code ?? 'none')
    expect(reason?.detail).not.toMatch(/undefined|null/)
  }
})

test('missing labels are those that nobody has, or all of them if nobody has them together', () => {
  const [a, b] = [
    executor({ labels: { gpu: 'a', disk: 'x' } }),
    executor({ labels: { disk: 'ssd' } }),
  ]
  expect(missingLabels([a, b], { gpu: 'b', disk: 'ssd' })).toEqual({ gpu: 'b' })
  expect(missingLabels([a, b], { gpu: 'a', disk: 'ssd' })).toEqual({ gpu: 'a', disk: 'ssd' })
  expect(canServe(a, { queue: 'q', requires: { gpu: 'a' } })).toBe(true)
  expect(canServe(a, { queue: 'q', requires: { toString: 'x' } })).toBe(false)
})
