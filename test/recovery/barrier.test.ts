import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'

const db = useDatabase()

interface Answered {
  replica: 'first' | 'second'
  route: string
  sentAt: number
  answeredAt: number
  status: number
  code: string | undefined
}

/** What executors send, without end, to both replicas at once. Returns what was answered so far. */
function hammer(replicas: Record<'first' | 'second', TestReplica>, epochs: Record<string, number>) {
  const answered: Answered[] = []
  let isOver = false
  const report = { job_id: '0', fence: 1, outcome: 'succeeded' }
  const requests: [string, string, object][] = [
    ['register', '/v1/executors/register', { executor_id: 'registers' }],
    ['poll', '/v1/executors/polls/poll', { epoch: epochs.polls, wait_ms: 0 }],
    ['heartbeat', '/v1/executors/beats/heartbeat', { epoch: epochs.beats }],
    ['report', '/v1/executors/reports/report', { epoch: epochs.reports, reports: [report] }],
  ]
  const ask = async (replica: 'first' | 'second', [route, path, body]: (typeof requests)[0]) => {
    while (!isOver) {
      const sentAt = performance.now()
      const { status, body: answer } = await replicas[replica].api.post(path, body)
      const answeredAt = performance.now()
      answered.push({ replica, route, sentAt, answeredAt, status, code: answer?.code })
    }
  }
  const asking = Promise.all(
    requests.flatMap((request) => [ask('first', request), ask('second', request)]),
  )
  const stop = () => {
    isOver = true
    return asking
  }
  /** Each route was answered so at least five times by this replica, from the next answer on. */
  const until = async (replica: 'first' | 'second', is: (answer: Answered) => boolean) => {
    const from = answered.length
    const isThere = ([route]: (typeof requests)[0]) =>
      answered.slice(from).filter((a) => a.replica === replica && a.route === route && is(a))
        .length >= 5
    while (!requests.every(isThere)) await pause()
  }
  return { answered, until, stop }
}

const isServed = ({ status }: Answered) => status >= 200 && status < 300

test('invariant 12: through a promotion no executor is served before a gate opens, nor after it closed', async () => {
  const first = await startActive(db)
  const goOn = Promise.withResolvers<void>()
  let openedAt = Number.POSITIVE_INFINITY
  const second = await startReplica(
    db,
    {},
    {
      duties: ({ recover, sweep }) => ({
        recover: async (term, lost) => {
          await goOn.promise
          await recover(term, lost)
        },
        sweep: (term, lost) => {
          openedAt = performance.now()
          return sweep(term, lost)
        },
      }),
    },
  )
  await second.events.wait('standing')
  const [polls, beats, reports] = await Promise.all(
    ['polls', 'beats', 'reports'].map((id) => first.api.register(id)),
  )
  const load = hammer({ first, second }, { polls, beats, reports } as Record<string, number>)
  await load.until('first', isServed)
  await load.until('second', ({ code }) => code === 'controller_standby')
  let closedAt = Number.POSITIVE_INFINITY
  const { term } = await first.events.wait('promoted')
  term.lost.addEventListener('abort', () => {
    closedAt = performance.now()
  })
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  await load.until('second', ({ code }) => code !== 'controller_standby')
  await load.until('first', ({ sentAt }) => sentAt > closedAt)
  goOn.resolve()
  await load.until('second', isServed)
  await load.stop()
  const served = load.answered.filter(isServed)
  const tooEarly = served.filter((a) => a.replica === 'second' && a.answeredAt < openedAt)
  const tooLate = served.filter((a) => a.replica === 'first' && a.sentAt > closedAt)
  expect(tooEarly).toEqual([])
  expect(tooLate).toEqual([])
  const refusals = load.answered.filter((a) => !isServed(a)).map((a) => `${a.status} ${a.code}`)
  expect([...new Set(refusals)].sort()).toEqual([
    '503 controller_recovering',
    '503 controller_standby',
  ])
  const count = (replica: string) => served.filter((a) => a.replica === replica).length
  process.stdout.write(
    `  ${load.answered.length} answers; served: ${count('first')} by the first, ${count('second')} by the second\n`,
  )
})
