import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { ReportResult } from '../../src/contract/executors.ts'
import type { Answer, Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'

/** One report, sent more than once at the same moment, wherever: it counts once. */

const db = useDatabase()

async function startPair(jobs: number) {
  const active = await startActive(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  await standby.api.untilReady()
  const queue = `q-${randomUUID().slice(0, 8)}`
  const epoch = await active.api.register(queue, { queues: [queue] })
  const submits = Array.from({ length: jobs }, () => ({ kind: 'x', queue }))
  await active.api.must(200, active.api.post('/v1/jobs/batch', { jobs: submits }))
  const leases = (await active.api.poll(queue, epoch, { max: jobs })).map((job) => ({
    job_id: job.job_id,
    fence: job.fence,
  }))
  expect(leases).toHaveLength(jobs)
  const report = (api: Api, lease: object) =>
    api.post(`/v1/executors/${queue}/report`, {
      epoch,
      reports: [{ ...lease, outcome: 'succeeded', result: 1 }],
    })
  return { active, standby, leases, report }
}

const statusesOf = (answers: Answer[]) =>
  answers.map(({ body }) => (body.results as ReportResult[])[0]?.status).sort()

async function expectOneOutcome(api: Api, id: string) {
  expect(await api.job(id)).toMatchObject({ state: 'succeeded', result: 1 })
  const { body } = await api.get(`/v1/jobs/${id}/attempts`)
  expect(body).toMatchObject({ attempts: [{ outcome: 'succeeded' }], late_reports: [] })
}

test('invariant 3: of ten at once to the active one is accepted, the others are duplicates', async () => {
  const { active, leases, report } = await startPair(1)
  const [lease] = leases
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => report(active.api, lease ?? {})),
  )
  expect(statusesOf(answers)).toEqual(['accepted', ...Array(9).fill('duplicate')])
  await expectOneOutcome(active.api, lease?.job_id ?? '')
})

test('invariant 12: of two at once to both replicas the standby refuses its own', async () => {
  const { active, standby, leases, report } = await startPair(1)
  const [lease] = leases
  const [accepted, refused] = await Promise.all(
    [active, standby].map(({ api }) => report(api, lease ?? {})),
  )
  expect(accepted?.body.results).toMatchObject([{ status: 'accepted' }])
  expect(refused).toMatchObject({ status: 503, body: { code: 'controller_standby' } })
  await expectOneOutcome(active.api, lease?.job_id ?? '')
})

test('invariant 3: told to both replicas over and over around a failover, each is accepted once', async () => {
  const { active, standby, leases, report } = await startPair(30)
  const answers = new Map(leases.map(({ job_id }) => [job_id, [] as Answer[]]))
  let isOver = false
  const tell = async (api: Api, lease: { job_id: string }) => {
    let isAnswered = false
    while (!(isOver && (isAnswered || api === active.api))) {
      const answer = await report(api, lease)
      isAnswered ||= answer.status === 200
      if (answer.status === 200) answers.get(lease.job_id)?.push(answer)
      else expect(answer.status).toBe(503)
    }
  }
  const half = leases.length / 2
  const late = Promise.withResolvers<void>()
  const telling = leases.flatMap((lease, n) =>
    [active.api, standby.api].map(async (api) => {
      if (n >= half) await late.promise
      await tell(api, lease)
    }),
  )
  const lost = db.terminate(`understudy ${active.app.identity.name} lock`)
  late.resolve()
  expect(await lost).toBe(1)
  await standby.api.untilActive()
  isOver = true
  await Promise.all(telling)
  for (const [id, told] of answers) {
    const [, ...others] = told
    expect(statusesOf(told)).toEqual(['accepted', ...others.map(() => 'duplicate')])
    await expectOneOutcome(standby.api, id)
  }
})
