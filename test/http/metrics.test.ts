import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { Metrics, scrape, untilMetrics } from '../support/metrics.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()

const phases = [
  'check_schema',
  'mark_gone',
  'settle_deadlines',
  'finish_cancels',
  'doubt_effects',
  'load_memory',
  'verify',
]

async function startPair() {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  await second.api.untilReady()
  return { first, second }
}

test('through a failover the metrics of both replicas say who leads, since how, and what recovery took', async () => {
  const { first, second } = await startPair()
  const epoch = await first.api.register('worker')
  expect((await second.api.post('/v1/executors/worker/poll', { epoch })).status).toBe(503)
  const [before, standing] = [await scrape(first.api), await scrape(second.api)]
  expect(before.by('controller_state')).toEqual({ '{state="active"}': 1 })
  expect([before.value('leading'), before.value('ready')]).toEqual([1, 1])
  expect(before.value('trust_margin_seconds')).toBeGreaterThan(0)
  expect(before.value('trust_margin_seconds')).toBeLessThanOrEqual(8)
  expect(standing.by('controller_state')).toEqual({ '{state="standby"}': 1 })
  expect([standing.value('leading'), standing.value('ready')]).toEqual([0, 1])
  expect(standing.value('trust_margin_seconds')).toBe(0)
  expect(standing.value('trust_margin_min_seconds')).toBe(Number.POSITIVE_INFINITY)
  expect(standing.by('gate_rejections_total')).toEqual({ '{code="controller_standby"}': 1 })
  expect(standing.by('promotions_total')).toEqual({})

  await first.api.must(200, first.api.post('/v1/leader/step-down', {}))
  await second.api.untilActive()
  const after = await untilMetrics(second.api, (each) => each.series.join().includes('sweep_count'))
  const counted = await untilMetrics(
    second.api,
    (each) => Object.keys(each.by('promotions_total')).length > 0,
  )
  expect(counted.by('promotions_total')).toEqual({ '{reason="step_down"}': 1 })
  expect(after.by('controller_state')).toEqual({ '{state="active"}': 1 })
  expect(after.value('term')).toBe((before.value('term') ?? 0) + 1)
  expect(after.value('promotion_seconds_count')).toBe(1)
  expect(after.value('promotion_seconds_sum')).toBeGreaterThan(0)
  expect(after.value('recovery_seconds_count')).toBe(1)
  const times = after.by('recovery_phase_seconds_count')
  expect(times).toEqual(Object.fromEntries(phases.map((phase) => [`{phase="${phase}"}`, 1])))
  const sums = Object.values(after.by('recovery_phase_seconds_sum'))
  const sum = sums.reduce((total, seconds) => total + seconds, 0)
  expect(sum).toBeLessThanOrEqual(after.value('recovery_seconds_sum') ?? 0)
  expect(after.value('reclaim_deferrals_total{reason="promotion"}')).toBe(1)
  const pinged = await untilMetrics(
    second.api,
    (each) => (each.value('ping_seconds_count') ?? 0) > 1,
  )
  expect(pinged.value('trust_margin_min_seconds')).toBeLessThan(8)

  const former = await untilMetrics(
    first.api,
    (each) => each.value('terms_ended_total{reason="step_down"}') === 1,
  )
  expect(former.by('terms_ended_total')).toEqual({ '{reason="step_down"}': 1 })
  expect(former.by('controller_state')).toEqual({ '{state="standby"}': 1 })
  expect(former.value('trust_margin_seconds')).toBe(0)
})

test('a promotion after a replica that said nothing counts as after one that vanished', async () => {
  const first = await startActive(db)
  const proxy = await startPgProxy(db.url)
  const cutOff = await startReplica({ url: proxy.url })
  await cutOff.events.wait('standing')
  await first.api.must(200, first.api.post('/v1/leader/step-down', {}))
  await cutOff.api.untilActive()
  proxy.cut()
  await first.api.untilActive()
  const counted = await untilMetrics(
    first.api,
    (each) => Object.keys(each.by('promotions_total')).length > 1,
  )
  expect(counted.value('promotions_total{reason="vanished"}')).toBe(1)
})

test('with Postgres out of reach the metrics are told all the same', async () => {
  const proxy = await startPgProxy(db.url)
  const { api, events } = await startActive({ url: proxy.url })
  expect((await scrape(api)).value('database_reachable')).toBe(1)
  proxy.cut()
  const { reason } = await events.wait('ended')
  const cut = await untilMetrics(api, (each) => each.value('database_reachable') === 0)
  expect(cut.by('terms_ended_total')).toEqual({ [`{reason="${reason}"}`]: 1 })
  expect([cut.value('ready'), cut.value('leading')]).toEqual([0, 0])
  expect((await api.get('/v1/status')).status).toBe(503)
  const refused = (await scrape(api)).by('gate_rejections_total')
  expect(refused).toEqual({ '{code="database_unavailable"}': 1 })
})

test('a poll that its term’s end cut short was refused, but not by the gate', async () => {
  const { api, app } = await startActive(db)
  const epoch = await api.register('parked', { queues: ['parked'] })
  const poll = api.post('/v1/executors/parked/poll', { epoch, wait_ms: 20_000 })
  while (app.wiring.waitList.size === 0) await pause()
  await api.must(200, api.post('/v1/leader/step-down', {}))
  expect((await poll).body.code).toBe('controller_draining')
  const metrics = await scrape(api)
  expect(metrics.value('http_problems_total{code="controller_draining"}')).toBe(1)
  expect(metrics.by('gate_rejections_total')).toEqual({})
})

test('leases are counted by how they ended and by who found it, and so are the runs of sweeps', async () => {
  const { api, app } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  await api.register('lost', { queues: ['counted'], capacity: 5 })
  const epoch = await api.register('lost', { queues: ['counted'], capacity: 5 })
  for (let n = 0; n < 3; n += 1) await api.submit({ queue: 'counted' })
  const [one, two] = await api.poll('lost', epoch, { max: 2 })
  const held = (each: typeof one) => ({ job_id: each?.job_id, fence: each?.fence })
  await api.report('lost', epoch, { ...held(one), outcome: 'succeeded' })
  await api.report('lost', epoch, { ...held(two), outcome: 'failed' })
  await api.poll('lost', epoch, { max: 1 })
  const again = await api.register('lost', { queues: ['counted'], capacity: 5 })
  await api.poll('lost', again, { max: 1 })
  await db.sql("UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE state = 'leased'")
  const expired = '{tier="expired",outcome="lost"}'
  let metrics = await scrape(api)
  // There from the beginning, or its first event would be hidden from increase().
  expect(metrics.value(`leases_ended_total${expired}`)).toBe(0)
  while (metrics.value(`leases_ended_total${expired}`) === 0) {
    // Again and again: a busy machine stalls, and the floor is raised for it.
    await db.sql('UPDATE terms SET deadline_floor_at = clock_timestamp()')
    metrics = await scrape(api)
  }
  expect(metrics.by('leases_ended_total')).toEqual({
    '{tier="report",outcome="succeeded"}': 1,
    '{tier="report",outcome="failed"}': 1,
    '{tier="new_epoch",outcome="lost"}': 1,
    [expired]: 1,
  })
  expect(metrics.value('sweep_counts_total{sweep="expire_leases",what="reclaimed"}')).toBe(1)
  expect(metrics.value('sweep_seconds_count{sweep="expire_leases"}')).toBeGreaterThan(0)
  expect(metrics.by('sweep_failures_total')).toEqual({})
  const stalls = (each: Metrics) => each.value('reclaim_deferrals_total{reason="stall"}') ?? 0
  app.wiring.stalls.note()
  await untilMetrics(api, (each) => stalls(each) > stalls(metrics))
})

test('a sweep and a recovery that fail are counted', async () => {
  await db.sql('ALTER TABLE jobs RENAME COLUMN lease_expires_at TO hidden')
  const { api } = await startReplica(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  try {
    await untilMetrics(api, (each) => (each.value('recovery_failures_total') ?? 0) > 0)
    expect((await scrape(api)).by('controller_state')).toEqual({ '{state="recovering"}': 1 })
  } finally {
    await db.sql('ALTER TABLE jobs RENAME COLUMN hidden TO lease_expires_at')
  }
  await api.untilActive()
  await db.sql('ALTER TABLE jobs RENAME COLUMN lease_expires_at TO hidden')
  const failed = 'sweep_failures_total{sweep="expire_leases"}'
  await untilMetrics(api, (each) => (each.value(failed) ?? 0) > 0)
  await db.sql('ALTER TABLE jobs RENAME COLUMN hidden TO lease_expires_at')
})

test('what waits, and what is connected, is told as it is', async () => {
  const { api } = await startActive(db)
  const epoch = await api.register('waits', { queues: ['empty'] })
  const job = await api.submit({ queue: 'nobody' })
  const hangUp = new AbortController()
  const { signal } = hangUp
  const waits = [
    api.request('POST', '/v1/executors/waits/poll', { epoch, wait_ms: 20_000 }, { signal }),
    api.request('GET', `/v1/jobs/${job.id}?wait_ms=20000`, undefined, { signal }),
  ].map((wait) => wait.catch(() => undefined))
  const idle = connect(Number(new URL(api.url).port), '127.0.0.1')
  await once(idle, 'connect')
  const both = await untilMetrics(
    api,
    (each) =>
      Object.keys(each.by('waiting_requests')).length === 2 &&
      (each.value('http_connections') ?? 0) >= 3,
  )
  expect(both.by('waiting_requests')).toEqual({ '{for="poll"}': 1, '{for="job"}': 1 })
  const sessions = both.by('db_pool_sessions')
  expect(Object.keys(sessions).every((labels) => /pool="(leader|client)"/.test(labels))).toBe(true)
  hangUp.abort()
  await Promise.all(waits)
  await untilMetrics(api, (each) => Object.keys(each.by('waiting_requests')).length === 0)
  const hungUp = '{route="/v1/executors/:id/poll",method="POST",status="hung_up"}'
  const counted = await untilMetrics(
    api,
    (each) => each.value(`http_requests_total${hungUp}`) === 1,
  )
  idle.destroy()
  const open = counted.value('http_connections') ?? 0
  await untilMetrics(api, (each) => (each.value('http_connections') ?? 0) < open)
  expect(counted.value('http_request_seconds_count{route="/v1/jobs",method="POST"}')).toBe(1)
})

test('whatever is asked for, the metrics do not grow: routes are patterns, and codes are known', async () => {
  const { api } = await startActive(db)
  const ask = async () => {
    const id = randomUUID()
    for (const method of ['GET', 'POST', 'PROPFIND', 'DELETE']) {
      expect((await api.request(method, `/${id}`)).status).toBe(404)
    }
    expect((await api.get(`/v1/jobs/${id}`)).status).toBe(404)
    expect((await api.get(`/v1/jobs/${'x'.repeat(300)}`)).status).toBe(404)
    expect((await api.get(`/v1/executors/${id}`)).status).toBe(404)
    expect((await api.get(`/v1/jobs?${id}=1&limit=${id}`)).status).toBe(400)
    expect((await api.get(`/docs/static/${id}`)).status).toBe(404)
    await api.submit({ kind: id, queue: id, labels: { [id]: id } })
    await api.register(id, { queues: [id] })
  }
  await ask()
  await scrape(api)
  // These grow by what this replica does by itself, and only so far.
  const own = /^(gc|sweep|recovery|reclaim)_/
  const asked = (metrics: Metrics) => metrics.series.filter((series) => !own.test(series))
  const before = asked(await scrape(api))
  for (let n = 0; n < 10; n += 1) await ask()
  const metrics = await scrape(api)
  expect(asked(metrics)).toEqual(before)
  expect(metrics.text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}/)
  expect(metrics.value('http_requests_total{route="none",method="any",status="404"}')).toBe(55)
})

test('given a port of their own, metrics are told there, and nowhere else, and nothing else is', async () => {
  const { api, app } = await startActive(db, { UNDERSTUDY_METRICS_PORT: '0' })
  expect((await api.get('/metrics')).status).toBe(404)
  const own = new Api(`http://127.0.0.1:${app.metricsPort}`, undefined)
  expect((await scrape(own)).by('controller_state')).toEqual({ '{state="active"}': 1 })
  for (const path of ['/', '/metricsx', '/health/live', '/v1/status']) {
    expect([path, (await own.get(path)).status]).toEqual([path, 404])
  }
  expect((await own.request('POST', '/metrics')).status).toBe(404)
  expect(await own.request('HEAD', '/metrics')).toMatchObject({ status: 200, body: undefined })
  await app.stop()
  await expect(own.get('/metrics')).rejects.toThrow('fetch failed')
})

test('metrics are text of Prometheus, on both ports', async () => {
  const one = await startReplica(db)
  const two = await startReplica(db, { UNDERSTUDY_METRICS_PORT: '0' })
  for (const url of [one.api.url, `http://127.0.0.1:${two.app.metricsPort}`]) {
    const { headers, body } = await new Api(url, undefined).get('/metrics')
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(headers.get('cache-control')).toBe('no-store')
    const { series } = new Metrics(body)
    expect(new Set(series).size).toBe(series.length)
    expect(body).toMatch(/^# TYPE understudy_term gauge$/m)
  }
})
