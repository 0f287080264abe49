import { expect, onTestFinished, test } from 'vitest'
import { ExecutorDirectory } from '../../src/services/executor-directory.ts'
import { ReadyClasses } from '../../src/services/ready-classes.ts'
import { WaitList } from '../../src/services/wait-list.ts'
import { WaitingPolls } from '../../src/services/waiting-polls.ts'
import type { JobClass } from '../../src/sql/classes.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive } from '../support/replica.ts'
import { StatementLog } from '../support/statement-log.ts'

/** Executors that have labels of their own, as those of fleets do, and can serve the same jobs. */

const db = useDatabase()

async function startFleet() {
  const log = new StatementLog()
  const proxy = await startPgProxy(db.url, log.watch)
  const { api, app } = await startActive({ url: proxy.url })
  const epochs = new Map<string, number>()
  const register = async (id: string, labels: Record<string, string>) => {
    epochs.set(id, await api.register(id, { labels }))
  }
  /** Resolves once it waits, with the poll. */
  const startPoll = async (id: string, more: Record<string, unknown> = {}) => {
    const before = app.wiring.waitList.count('poll')
    const poll = api.poll(id, epochs.get(id) ?? 0, { wait_ms: 20_000, ...more })
    while (app.wiring.waitList.count('poll') === before) await pause()
    return { poll }
  }
  const submit = (...jobs: Record<string, unknown>[]) => {
    const body = { jobs: jobs.map((job) => ({ kind: 'test', ...job })) }
    return api.must(200, api.post('/v1/jobs/batch', body))
  }
  return { api, app, log, register, startPoll, submit }
}

test('64 executors of as many hosts are served by one claim', async () => {
  const { app, log, register, startPoll, submit } = await startFleet()
  const ids = Array.from({ length: 64 }, (_, n) => `e-${n}`)
  for (const id of ids) await register(id, { host: id })
  const polls = await Promise.all(ids.map((id) => startPoll(id)))
  while (app.wiring.waitList.count('poll') < 64) await pause()
  log.take()
  await submit(...ids.map(() => ({})))
  const given = await Promise.all(polls.map(({ poll }) => poll))
  expect(given.map(({ length }) => length)).toEqual(ids.map(() => 1))
  expect(log.take().filter((statement) => statement === 'claim_jobs')).toHaveLength(1)
})

test('executors of different hosts get the jobs that are for theirs', async () => {
  const { register, startPoll, submit } = await startFleet()
  const hosts = ['a', 'b', 'c']
  const polls = []
  for (const host of hosts) {
    await register(host, { host })
    polls.push((await startPoll(host, { max: 2 })).poll)
  }
  await submit(...[...hosts, ...hosts].map((host) => ({ payload: host, requires: { host } })))
  const given = (await Promise.all(polls)).map((jobs) => jobs.map(({ payload }) => payload))
  expect(given).toEqual(hosts.map((host) => [host, host]))
})

test('whoever waits the longest is given work first, whatever its labels', async () => {
  const { register, startPoll, submit } = await startFleet()
  for (const id of ['a1', 'b', 'a2']) await register(id, { zone: id.slice(0, 1) })
  const [a1, b, a2] = [await startPoll('a1'), await startPoll('b'), await startPoll('a2')]
  await submit({ payload: 1 }, { payload: 2 })
  expect([await a1.poll, await b.poll]).toMatchObject([[{ payload: 1 }], [{ payload: 2 }]])
  const again = await startPoll('b')
  await submit({ payload: 3 }, { payload: 4 })
  expect([await a2.poll, await again.poll]).toMatchObject([[{ payload: 3 }], [{ payload: 4 }]])
})

/** Polls that wait in memory alone; a letter stands for a label, and a class of that name asks for it. */
function startWaiting(names: string[]) {
  const classes = new Map<number, JobClass>()
  for (const [index, name] of ['any', ...names].entries()) {
    const requires = index === 0 ? {} : { [name]: 'yes' }
    classes.set(index, { class_id: index, queue: 'q', kind: 'k', requires })
  }
  const directory = new ExecutorDirectory({ look: async () => [], classes: () => classes })
  const waiting = new WaitingPolls()
  const ready = new ReadyClasses()
  const waitList = new WaitList()
  const enter = (executor_id: string) => {
    const standing = { health: 'healthy', is_draining: false, is_deregistered: false } as const
    const labels = { [executor_id.slice(0, 1)]: 'yes' }
    const executor = { executor_id, epoch: 1, labels, queues: ['q'], capacity: 1, changes: 0 }
    const entry = directory.put({ ...executor, ...standing })
    const gone = new AbortController().signal
    const onLeave = () => waiting.leave(entry, waiter)
    const waiter = waitList.add<never>({ group: 'poll', waitMs: 60_000, gone, onLeave })
    waiting.enter({ entry, max: 1, pollId: null, waiter })
    return waiter
  }
  const groups = () => {
    return waiting
      .groups(ready, () => true)
      .map(({ polls }) => polls.map(({ entry }) => entry.executorId).join(' '))
  }
  onTestFinished(() => waitList.end('poll'))
  return { ready, enter, groups }
}

test('groups take turns by who has waited the longest in them', () => {
  const { ready, enter, groups } = startWaiting(['a', 'b'])
  const [first] = ['a1', 'b1', 'a2', 'b2', 'c1'].map(enter)
  ready.mark(0)
  expect(groups()).toEqual(['a1 b1 a2 b2 c1'])
  for (const classId of [2, 1]) ready.mark(classId)
  expect(groups()).toEqual(['a1 a2', 'b1 b2', 'c1'])
  first?.settle(undefined)
  expect(groups()).toEqual(['b1 b2', 'a2', 'c1'])
})

test('a group is no larger than what a claim serves, and lets in the longest waiting', () => {
  const { ready, enter, groups } = startWaiting([])
  const ids = Array.from({ length: 150 }, (_, n) => `${'abc'[n % 3]}${n}`)
  ids.forEach(enter)
  ready.mark(0)
  expect(groups()).toEqual([ids.slice(0, 64).join(' ')])
})
