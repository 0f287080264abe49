import { beforeAll, expect, test } from 'vitest'
import type { Api } from '../support/api.ts'
import type { TestDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { history, settled, startExample } from './example.ts'
import { type Page, startFlakyProxy } from './flaky-proxy.ts'
import { beatOften, startPair } from './pair.ts'

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** What an executor must do, in whatever language it is written. */
export function testExecutor(file: string, db: TestDatabase) {
  let api: Api
  let standby: Api
  beforeAll(async () => {
    const pair = await startPair(db)
    api = pair.active
    standby = pair.standby
    return pair.stop
  })

  test('it goes on to the active, runs jobs, and fails them as they were configured', async () => {
    const { id, runs } = await startExample(file, api, [standby.url, api.url])
    const once = { queue: id, max_attempts: 1 }
    const payload = { text: 'ü "quoted" \u0000 $(exit) \\n', list: [1.5, null, true, { a: [] }] }

    const echoed = await settled(api, (await api.submit({ kind: 'echo', queue: id, payload })).id)
    expect(echoed).toMatchObject({ state: 'succeeded', result: payload, attempt: 1, fence: 1 })

    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const traced = await api.submit({ kind: 'trace', queue: id, traceparent })
    expect(await settled(api, traced.id)).toMatchObject({ result: traceparent })

    const retried = { kind: 'fail', queue: id, max_attempts: 2, backoff: { base_ms: 1 } }
    const failed = await settled(api, (await api.submit(retried)).id)
    expect(failed).toMatchObject({ state: 'failed', attempt: 2, error: { code: 'exit_code' } })
    expect(failed.error?.message).toBe('exit code 3')
    expect((await history(api, failed.id)).attempts).toMatchObject([
      { outcome: 'failed', attempt: 1 },
      { outcome: 'failed', attempt: 2 },
    ])

    const hopeless = await settled(api, (await api.submit({ kind: 'hopeless', queue: id })).id)
    const error = { code: 'no_cat', message: 'there is no cat', retryable: false }
    expect(hopeless).toMatchObject({ state: 'failed', attempt: 1, error })

    const large = await settled(api, (await api.submit({ kind: 'large', queue: id })).id)
    expect(large).toMatchObject({ state: 'failed', error: { code: 'report_refused' } })

    const slow = await api.submit({ ...once, kind: 'wait', run_timeout_ms: 200 })
    expect(await settled(api, slow.id)).toMatchObject({ error: { code: 'run_timeout' } })

    const stubborn = await api.submit({ ...once, kind: 'stubborn', run_timeout_ms: 200 })
    expect(await settled(api, stubborn.id)).toMatchObject({ error: { code: 'run_timeout' } })

    // Those whose time ran out may not have come as far as to write their lines.
    const late = [`${slow.id} 1`, `${stubborn.id} 1`]
    const lines = (await runs()).filter((line) => !late.includes(line))
    expect(lines).toEqual([
      `${echoed.id} 1`,
      `${traced.id} 1`,
      `${failed.id} 1`,
      `${failed.id} 2`,
      `${hopeless.id} 1`,
      `${large.id} 1`,
    ])
  })

  test('a proxy’s own answers refuse nothing and end nothing: it beats on, and the job goes on', async () => {
    const pages: Page[] = [
      { status: 200, page: '<html>log in' },
      { status: 503, page: '"busy"' },
      { status: 503, page: '{"half', isCut: true },
      { status: 503, page: '{"retry_after_ms":"soon"}' },
      { status: 403, page: '<html>' },
      { status: 429, page: '' },
      { status: 429, page: '{"code":"too_many_failures","retry_after_ms":20}' },
      { status: 408, page: '{"code":"request_timeout"}' },
      { status: 502, page: '<html>' },
    ]
    const beatOn = Promise.withResolvers<void>()
    let isPassed = false
    const proxy = await startFlakyProxy(api.url, (call, answer) => {
      const often = beatOften(call, answer)
      if (call.name !== 'heartbeat' || call.body.assignments.length === 0) return often
      isPassed = !isPassed
      const page = isPassed ? undefined : pages.shift()
      if (!page && !isPassed) beatOn.resolve()
      return page ?? often
    })
    const example = await startExample(file, api, [proxy])
    const { id } = await api.submit({ kind: 'wait', queue: example.id })
    await example.said(`running ${id} 1`)
    await beatOn.promise
    await example.letGo()
    expect(await settled(api, id)).toMatchObject({ state: 'succeeded', fence: 1 })
  })

  test('answers to a poll and a report are lost: the job runs once, and is reported once', async () => {
    const lost = new Map<string, string>()
    const proxy = await startFlakyProxy(api.url, ({ name, body }, answer) => {
      // It beats at first, and when it has a job: no other heartbeat may miss what is on its way.
      if (name === 'heartbeat') return { ...answer, heartbeat_ms: 60_000 }
      const isFirst = name === 'report' || (name === 'poll' && answer.assignments.length > 0)
      if (!isFirst || lost.has(name)) return answer
      lost.set(name, JSON.stringify(body))
      return 'lost'
    })
    const example = await startExample(file, api, [proxy, standby.url])
    const { id } = await api.submit({ kind: 'echo', queue: example.id, payload: 1 })
    await example.said(`running ${id} 1`)
    expect(await settled(api, id)).toMatchObject({ state: 'succeeded', fence: 1, result: 1 })
    const next = await api.submit({ kind: 'echo', queue: example.id, payload: 2 })
    expect(await settled(api, next.id)).toMatchObject({ state: 'succeeded', fence: 1 })
    expect([...lost.keys()]).toEqual(['poll', 'report'])
    expect(await history(api, id)).toMatchObject({
      attempts: [{ outcome: 'succeeded' }],
      late_reports: [],
    })
    expect(await example.runs()).toEqual([`${id} 1`, `${next.id} 1`])
  })

  test.each([
    ['a cancel stops the whole process group, and is reported', 'stubborn'],
    ['what ignores SIGTERM does not outlive a command that heeds it', 'orphan'],
  ])('%s', async (_name, kind) => {
    let cancelled = ''
    const proxy = await startFlakyProxy(api.url, (call, answer) => {
      if (call.name !== 'heartbeat') return answer
      const leases = answer.held.filter((lease: { job_id: string }) => lease.job_id === cancelled)
      const cancel = leases.map((lease: object) => ({ ...lease, reason: 'test' }))
      return { ...answer, heartbeat_ms: 300, cancel }
    })
    const example = await startExample(file, api, [proxy, standby.url])
    const { id } = await api.submit({ kind, queue: example.id })
    const child = Number((await example.said('child ')).slice('child '.length))
    expect(isAlive(child)).toBe(true)
    cancelled = id
    expect(await settled(api, id)).toMatchObject({ state: 'cancelled', fence: 1 })
    while (isAlive(child)) await pause()
    expect((await history(api, id)).attempts).toMatchObject([{ outcome: 'cancelled' }])
  })

  test('a job that is taken away is stopped and not reported', async () => {
    const proxy = await startFlakyProxy(api.url, beatOften)
    const example = await startExample(file, api, [proxy, standby.url])
    const { id } = await api.submit({ kind: 'wait', queue: example.id })
    await example.said(`running ${id} 1`)
    await db.sql(
      `UPDATE jobs SET state = 'available', fence = fence + 1, executor_id = NULL, epoch = NULL,
        poll_id = NULL, offered = false, leased_at = NULL, lease_expires_at = NULL WHERE id = $1`,
      [id],
    )
    await example.said(`running ${id} 3`)
    await example.letGo()
    expect(await settled(api, id)).toMatchObject({ state: 'succeeded', fence: 3 })
    expect(await history(api, id)).toMatchObject({
      attempts: [{ outcome: 'succeeded', fence: 3 }],
      late_reports: [],
    })
  })

  test('a newer process of its id takes over: it stops its job, exits, and stays away', async () => {
    const proxy = await startFlakyProxy(api.url, beatOften)
    const example = await startExample(file, api, [proxy, standby.url])
    const { id } = await api.submit({ kind: 'stubborn', queue: example.id })
    await example.said('child ')
    expect(await api.register(example.id, { queues: [example.id] })).toBe(2)
    expect(await example.closed).toBe(1)
    const { body } = await api.get(`/v1/executors/${example.id}`)
    expect(body.epoch).toBe(2)
    expect(await history(api, id)).toMatchObject({
      attempts: [{ outcome: 'lost', epoch: 1 }],
      late_reports: [],
    })
  })

  test('SIGTERM: it finishes what it holds and takes nothing new; twice: it gives it back', async () => {
    const urls = [api.url, standby.url]
    const polite = await startExample(file, api, urls)
    const hasty = await startExample(file, api, urls)
    const held = await api.submit({ kind: 'wait', queue: polite.id })
    const given = await api.submit({ kind: 'stubborn', queue: hasty.id })
    await polite.said('running ')
    polite.kill('SIGTERM')
    await polite.said('taking no new work')
    const later = await api.submit({ kind: 'echo', queue: polite.id })
    await polite.letGo()
    expect(await polite.closed).toBe(0)
    expect(await api.job(held.id)).toMatchObject({ state: 'succeeded', fence: 1 })
    expect(await api.job(later.id)).toMatchObject({ state: 'available', fence: 0 })

    await hasty.said('child ')
    hasty.kill('SIGTERM')
    await hasty.said('taking no new work')
    hasty.kill('SIGTERM')
    expect(await hasty.closed).toBe(0)
    expect(await api.job(given.id)).toMatchObject({ state: 'available', attempt: 0 })
    expect((await history(api, given.id)).attempts).toMatchObject([{ outcome: 'released' }])
  })
}
