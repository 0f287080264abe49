import { expect, test } from 'vitest'
import { type ExecutorEvent, JobFailure, UnavailableError } from '../../src/sdk/index.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { openSession } from '../support/sessions.ts'
import { type HowToStart, quick, startExecutor } from './start-executor.ts'

/** What a proxy, a handler or a control plane that is gone may do to an executor. */

const db = useDatabase()

const start = (...how: HowToStart) => startExecutor(db, ...how)

const circular: unknown[] = []
circular.push(circular)

/** An answer may be late on a busy machine; a refusal is for what was said. */
const refusalsIn = (fired: readonly ExecutorEvent[]) =>
  fired.filter((event) => event.type === 'trouble' && !(event.error instanceof UnavailableError))

test('progress that cannot be sent is thrown back at the handler; heartbeats go on', async () => {
  const thrown: unknown[] = []
  const mayEnd = Promise.withResolvers<void>()
  const { client, events, submit, settled } = await start({
    handler: async (context) => {
      const value = { at: 1 }
      context.progress(value)
      value.at = 2
      for (const bad of ['x'.repeat(70_000), { bytes: 10n }, circular, () => 1]) {
        try {
          context.progress(bad)
        } catch (error) {
          thrown.push(error)
        }
      }
      await mayEnd.promise
      return 'done'
    },
  })
  const id = await submit()
  while ((await client.getJob(id)).progress === null) await pause()
  mayEnd.resolve()
  expect(await settled(id)).toMatchObject({ state: 'succeeded', progress: { at: 1 } })
  expect(thrown).toMatchObject([
    { code: 'too_large', message: '70002 bytes of JSON; at most 65536 are kept' },
    { code: 'not_json', message: expect.stringContaining('BigInt') },
    { code: 'not_json', message: expect.stringContaining('circular') },
    { code: 'not_json', message: 'JSON cannot express it: a function' },
  ])
  expect(refusalsIn(events.fired)).toEqual([])
})

test('progress that was not taken, since somebody held the row, is told again', async () => {
  const [mayTell, mayEnd] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const toldAgain = Promise.withResolvers<void>()
  let told = 0
  const { client, submit, settled } = await start(
    {
      handler: async (context) => {
        await mayTell.promise
        context.progress({ at: 1 })
        await mayEnd.promise
        return context.signal.aborted
      },
    },
    ({ name, body }) => {
      if (name === 'heartbeat' && body.assignments[0]?.progress) told += 1
      if (told === 2) toldAgain.resolve()
      return undefined
    },
  )
  const id = await submit()
  const other = await openSession(db.url)
  while ((await client.getJob(id)).state !== 'leased') await pause()
  await other.query('BEGIN')
  await other.query('SELECT FROM jobs WHERE id = $1 FOR UPDATE', [id])
  mayTell.resolve()
  await toldAgain.promise
  await other.query('ROLLBACK')
  while ((await client.getJob(id)).progress === null) await pause()
  mayEnd.resolve()
  expect(await settled(id)).toMatchObject({ state: 'succeeded', result: false })
})

test('progress that the control plane refuses costs no heartbeat but its own', async () => {
  let deep: unknown = 1
  for (let level = 0; level < 150; level += 1) deep = [deep]
  const told = Promise.withResolvers<void>()
  let beats = 0
  const { submit, settled } = await start(
    {
      handler: async (context) => {
        context.progress(deep)
        await told.promise
        return context.signal.aborted
      },
    },
    ({ name, body }) => {
      if (name !== 'heartbeat' || body.assignments.length === 0) return undefined
      beats += 'progress' in body.assignments[0] ? 0 : 1
      if (beats === 2) told.resolve()
      return undefined
    },
  )
  const id = await submit()
  expect(await settled(id)).toMatchObject({ state: 'succeeded', result: false, progress: null })
})

test('however much progress there is to tell at once, each heartbeat stays within its limit', async () => {
  const capacity = 150
  let running = 0
  const allRun = Promise.withResolvers<void>()
  const mayEnd = Promise.withResolvers<void>()
  const { client, events, submit } = await start({
    capacity,
    handler: async (context) => {
      if (++running === capacity) allRun.resolve()
      await allRun.promise
      context.progress('x'.repeat(65_000))
      await mayEnd.promise
    },
  })
  const ids = await Promise.all(Array.from({ length: capacity }, () => submit()))
  for (const id of ids) while ((await client.getJob(id)).progress === null);
  mayEnd.resolve()
  expect(refusalsIn(events.fired)).toEqual([])
})

test.each([
  ['a proxy’s page', { status: 403, body: '<html>' }],
  ['a refusal of what it says', { status: 400, body: '{"code":"invalid_request"}' }],
  ['too many requests', { status: 429, body: '' }],
])(
  'a heartbeat answered with %s is trouble that passes: the job goes on',
  async (_name, answer) => {
    const refused = Promise.withResolvers<void>()
    let refusals = 0
    const { submit, settled } = await start(
      {
        handler: async ({ signal }) => {
          await refused.promise
          return signal.aborted
        },
      },
      ({ name, body }) => {
        if (name !== 'heartbeat' || body.assignments.length === 0 || refusals === 3) return
        refusals += 1
        if (refusals === 3) refused.resolve()
        return answer
      },
    )
    expect(await settled(await submit())).toMatchObject({ state: 'succeeded', result: false })
  },
)

test.each(['lose', 'spoil'] as const)(
  'where a proxy does %s the answer of a poll, it is sent again under its poll_id, and gets its job',
  async (how) => {
    const pollIds: string[] = []
    const { api, submit, settled } = await start(
      { handler: async () => 'done' },
      ({ name, body }) => {
        // Or the inventory of heartbeats might find first that nobody has the job.
        if (name === 'heartbeat' && pollIds.length === 1) return { status: 503, body: '' }
        if (name !== 'poll') return undefined
        pollIds.push(body.poll_id)
        return pollIds.length === 1 ? how : undefined
      },
    )
    const id = await submit()
    expect(await settled(id)).toMatchObject({ state: 'succeeded' })
    const { body } = await api.get(`/v1/jobs/${id}/attempts`)
    expect(body.attempts).toMatchObject([{ fence: 1, outcome: 'succeeded' }])
    while (pollIds.length < 3) await pause()
    const [lost, again, next] = pollIds
    expect(again).toBe(lost)
    expect(next).not.toBe(lost)
  },
)

test('whatever a handler returns or throws, its job is reported', async () => {
  const ends: (() => unknown)[] = [
    () => ({ size: 10n }),
    () => circular,
    () => Symbol('x'),
    () => ({
      toJSON() {
        throw new Error('no')
      },
    }),
    () => {
      throw Object.create(null)
    },
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      throw proxy
    },
    () => {
      throw undefined
    },
    () => {
      throw Object.assign(new Error(), { message: 7 })
    },
    () => {
      throw new JobFailure('c'.repeat(200), 'm'.repeat(20_000))
    },
    () => {
      throw new Error('half \ud800 and \0')
    },
    () => {
      throw new JobFailure(`${'c'.repeat(127)}💥`, `\0${'m'.repeat(15_999)}💥`)
    },
    () => undefined,
  ]
  const { submit, settled } = await start({
    capacity: ends.length,
    handler: async ({ job }) => ends[job.payload as number]?.(),
  })
  const jobs = await Promise.all(ends.map(async (_, index) => settled(await submit(index))))
  const notJson = { state: 'failed', error: { code: 'result_not_json', retryable: false } }
  const exception = { state: 'failed', error: { code: 'exception' } }
  expect(jobs).toMatchObject([
    notJson,
    notJson,
    notJson,
    notJson,
    exception,
    exception,
    exception,
    exception,
    { state: 'failed', error: { code: 'c'.repeat(128), retryable: true } },
    { state: 'failed', error: { code: 'exception', message: 'half \ufffd and ' } },
    { state: 'failed', error: { code: `${'c'.repeat(127)}\ufffd`, retryable: true } },
    { state: 'succeeded', result: null },
  ])
})

test('a report that is refused, and whose replacement is refused, backs off and holds up no other', async () => {
  const refusedOften = Promise.withResolvers<void>()
  const codes: string[] = []
  const { events, submit, settled } = await start(
    { capacity: 2, handler: async ({ job }) => job.payload },
    ({ name, body }) => {
      if (name !== 'report') return
      const bad = body.reports.find(
        (item: { result?: unknown; error?: unknown }) => item.result !== 1,
      )
      if (!bad || codes.length > 12) return
      codes.push(bad.error?.code ?? 'none')
      if (codes.length > 12) refusedOften.resolve()
      return { status: 400, body: '{"code":"invalid_request","detail":"no"}' }
    },
    quick,
  )
  const bad = await submit(0)
  await refusedOften.promise
  const good = await submit(1)
  expect((await settled(good)).state).toBe('succeeded')
  expect(await settled(bad)).toMatchObject({
    error: { code: 'report_refused', message: 'the report was refused: no' },
  })
  expect(codes.slice(0, 2)).toEqual(['none', 'report_refused'])
  const troubles = events.fired.filter((event) => event.type === 'trouble')
  expect(troubles.filter(({ call }) => call === 'report').length).toBeGreaterThan(5)
})

test('an answer that is not that of the report does not settle it', async () => {
  let reports = 0
  const { submit, settled } = await start({ handler: async () => 'told' }, ({ name }) => {
    if (name !== 'report') return
    reports += 1
    return reports <= 2 ? { status: 200, body: '{"results":[]}' } : undefined
  })
  expect(await settled(await submit())).toMatchObject({ state: 'succeeded', result: 'told' })
  // What is not answered in time is told once more.
  expect(reports).toBeGreaterThanOrEqual(3)
})

test('stopped while the control plane is away: it gives the reports up and says so', async () => {
  let isAway = false
  const { events, stopping, ended, submit } = await start(
    {
      handler: ({ signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(new Error('stopped'))),
        ),
    },
    () => (isAway ? { status: 502, body: '' } : undefined),
    quick,
  )
  await submit()
  await events.wait('started')
  isAway = true
  stopping.abort()
  await expect(ended).rejects.toMatchObject({
    code: 'unavailable',
    message: 'stopped, and nobody took the reports of 1 job(s)',
  })
})
