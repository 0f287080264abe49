import { afterAll, beforeAll, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import type { Call } from './calls.ts'
import type { Command, Step } from './commands.ts'
import { explore, failureOf } from './explore.ts'
import type { System } from './sequence.ts'
import { World } from './world.ts'

/** A few of the sequences of `npm run test:model`, and that they would not pass if the system were broken. */

const db = useDatabase()
let world: World

beforeAll(async () => {
  world = await World.open(db.url)
})
afterAll(() => world.close())

test('invariants 1, 2, 3, 5, 6 and 7: calls drawn by lot come to what the model says, some at the same time', async () => {
  const { failure, runs } = await explore(world, { runs: 5, seed: 5, shrinkMs: 0 })
  expect(failure?.story.join('\n')).toBeUndefined()
  expect(runs).toBe(5)
})

const submit: Extract<Command, { do: 'submit' }> = {
  do: 'submit',
  key: null,
  maxAttempts: 1,
  delayMin: 0,
  timeoutMin: null,
  stages: [],
  on: 0,
}
const poll: Command = {
  do: 'poll',
  who: 0,
  isOld: false,
  max: 1,
  isAgain: false,
  at: 'active',
}
const cancel: Command = { do: 'cancel', job: 0, on: 1 }
const begin: Command = {
  do: 'begin',
  lease: 0,
  as: 'itself',
  key: 'deploy',
  onDoubt: 'hold',
  at: 'active',
}
const commit: Command = { do: 'settle', begin: 0, as: 'itself', to: 'committed', at: 'active' }
const report: Extract<Command, { do: 'report' }> = {
  do: 'report',
  lease: 0,
  as: 'itself',
  outcome: 'released',
  retryable: true,
  at: 'active',
}
const leaveOfOld: Command = {
  do: 'deregister',
  who: 0,
  isOld: false,
  by: 'executor',
  at: 'zombie',
}
const beat: Command = { do: 'heartbeat', who: 0, isOld: false, mask: 15, at: 'active' }

const retry: Command = { do: 'retry', job: 0, on: 0 }
const staged: Command = {
  ...submit,
  stages: [
    { name: 'approve', manual: true },
    { name: 'b', manual: false },
  ],
}
const transition: Command = {
  do: 'transition',
  job: 0,
  isHere: true,
  move: 'any',
  to: 0,
  key: null,
  on: 0,
}
const own: Command = {
  do: 'own',
  job: 0,
  owner: 'pipeline',
  boot: 'boot-1',
  ceilingMin: 6,
  on: 0,
}

const lease = 'executor_id = NULL, epoch = NULL, leased_at = NULL, lease_expires_at = NULL'
const loss = `INSERT INTO attempts (job_id, fence, attempt, executor_id, epoch, outcome, started_at, ended_at)
  SELECT id, fence, attempt, executor_id, epoch, 'lost', leased_at, clock_timestamp() FROM jobs`

/** What is done behind the back of the system after such a call, and who must notice. */
const faults: [string, Command[], Call['do'], string, string][] = [
  [
    'lets a replica of an older term write',
    [leaveOfOld],
    'deregister',
    'UPDATE executors SET epoch = 7',
    'invariant 1',
  ],
  [
    'revives a cancelled job',
    [submit, cancel, beat],
    'heartbeat',
    `UPDATE jobs SET state = 'available', finished_at = NULL, cancel_requested_at = NULL`,
    'invariant 3',
  ],
  [
    'forgets that an effect was committed',
    [submit, poll, begin, commit, beat],
    'heartbeat',
    `UPDATE effects SET state = 'begun', settled_at = NULL`,
    'invariant 5',
  ],
  [
    'gives up on a cancel',
    [submit, poll, cancel, beat],
    'heartbeat',
    `UPDATE jobs SET state = 'available', ${lease}`,
    'invariant 6',
  ],
  [
    'takes a lease that has time left',
    [submit, poll, beat],
    'heartbeat',
    `${loss}; UPDATE jobs SET state = 'available', ${lease}`,
    'invariant 7',
  ],
  [
    'forgets which job retries another',
    [submit, cancel, retry],
    'retry',
    'UPDATE jobs SET retried_as = NULL',
    'the model has no explanation',
  ],
  [
    'starts a retry with an empty ledger',
    [submit, poll, begin, { ...report, outcome: 'failed', retryable: false }, retry],
    'retry',
    'DELETE FROM effects WHERE job_id IN (SELECT id FROM jobs WHERE retry_of IS NOT NULL)',
    'the model has no explanation',
  ],
  [
    'leaves out the number of a move',
    [staged, transition],
    'transition',
    'UPDATE jobs SET move = move + 1',
    'the model has no explanation',
  ],
  [
    'ends what is owned before its ceiling',
    [staged, own, beat],
    'heartbeat',
    `UPDATE transitions SET outcome = 'expired', ended_at = clock_timestamp()`,
    'the model has no explanation',
  ],
  [
    'charges a job for an attempt that it never made',
    [submit],
    'submit',
    'UPDATE jobs SET attempt = 1',
    'the model has no explanation',
  ],
]

function answering(call: System['call']): System {
  return { wipe: () => world.wipe(), look: () => world.look(), call }
}

function broken(after: Call['do'], sql: string): System {
  return answering(async (call) => {
    const answer = await world.call(call)
    if (call.do === after) await world.tamper(sql)
    return answer
  })
}

async function findingsOf(system: System, commands: Command[]): Promise<string> {
  const steps: Step[] = [[{ do: 'promote' }], ...commands.map((command): Step => [command])]
  return (await failureOf(system, steps))?.join('\n') ?? 'none'
}

test.each(faults)('a system that %s is found out', async (_name, commands, after, sql, finding) => {
  expect(await findingsOf(broken(after, sql), commands)).toContain(finding)
})

test('a system that heeds a report of who holds nothing is found out', async () => {
  const system = answering(async (call) => {
    const answer = await world.call(call)
    return call.do === 'report' ? { ok: { status: 'accepted', state: 'available' } } : answer
  })
  const found = await findingsOf(system, [submit, poll, { ...report, as: 'other' }])
  expect(found).toContain('invariant 2')
  expect(await findingsOf(system, [submit, poll, report, report])).toContain('invariant 3')
})

test('a replica of an older term that breaks instead of refusing is found out', async () => {
  const system = answering(async (call) => {
    const answer = await world.call(call)
    return call.do === 'deregister' ? { refused: 'TypeError: no term' } : answer
  })
  expect(await findingsOf(system, [leaveOfOld])).toContain('the model would answer')
})

test('a job that does not come to its end, and of which nothing else is wrong, is found out', async () => {
  const system = answering((call) =>
    call.do === 'cancel' ? Promise.resolve({ refused: 'database_unavailable' }) : world.call(call),
  )
  const found = await findingsOf(system, [submit])
  expect(found).toContain('cancelled, and long past every deadline')
  expect(found).toContain('#1 is still available')
})

const mayBeLost = new Set<Call['do']>(['submit', 'retry', 'poll', 'begin', 'own', 'settle'])

test('calls whose answers get lost are explained by what came of them', async () => {
  const asked = new Map<Call['do'], number>()
  const system = answering(async (call) => {
    const answer = await world.call(call)
    const place = asked.get(call.do) ?? 0
    asked.set(call.do, place + 1)
    const isLost = mayBeLost.has(call.do) && place % 3 === 0
    return isLost ? { refused: 'database_unavailable' } : answer
  })
  const { failure } = await explore(system, { runs: 3, seed: 5, shrinkMs: 0 })
  expect(failure?.story.join('\n')).toBeUndefined()
})

test('a sequence that fails is made shorter, and told with what to run to see it again', async () => {
  const system = broken('submit', 'UPDATE jobs SET attempt = 1')
  const { failure } = await explore(system, { runs: 20, seed: 1, shrinkMs: Infinity })
  const steps = failure?.story.filter((line) => /^ +(\d+\.|\+)/.test(line)) ?? []
  expect(steps.at(-1)).toMatch(/^ +5\. submit .*→ job=#1 isNew=true$/)
  expect(steps).toHaveLength(5)
  const again = await explore(system, { runs: 1, seed: 1, path: failure?.path, shrinkMs: 0 })
  expect(again.failure?.story.at(-1)).toBe(failure?.story.at(-1))
}, 300_000)
