import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startHttpProxy } from '../support/http-proxy.ts'
import { pause } from '../support/pause.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession, untilAnyWaiting } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

/** A client hangs up on its poll just as work is on its way: see polls.test.ts for one that did before. */

const db = useDatabase()

const goneBack = { state: 'available', scheduled: false, attempt: 0, lost_leases: 0, fence: 2 }

test('a hang-up seen while its claim is under way: the job goes back at once, unspent', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db)
  waitForLocks(app)
  const hangUp = new AbortController()
  const path = `/v1/executors/${executor}/poll`
  const blocker = await openSession(db.url)
  const job = await api.submit({ queue })
  await blocker.query('BEGIN; LOCK TABLE progress IN ACCESS EXCLUSIVE MODE')
  const poll = api
    .post(path, { epoch, wait_ms: 20_000 }, { signal: hangUp.signal })
    .catch(() => 'hung up')
  await untilAnyWaiting(blocker)
  hangUp.abort()
  expect(await poll).toBe('hung up')
  while (app.wiring.waitList.size > 0) await pause()
  await blocker.query('ROLLBACK')
  while ((await api.job(job.id)).fence < 2) await pause()
  expect(await api.job(job.id)).toMatchObject(goneBack)
  const { body } = await api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toMatchObject([{ fence: 1, outcome: 'undelivered' }])
})

test('a hang-up seen only after its claim was committed: inventory finds the offer, unspent', async () => {
  const { api, queue, executor, epoch } = await startWork(db, { UNDERSTUDY_HEARTBEAT_MS: '50' })
  const hangUp = new AbortController()
  const proxy = await startHttpProxy(api.url, async (_request, _response, _call, pass) => {
    const { assignments } = (await (await pass()).json()) as { assignments: unknown[] }
    expect(assignments).toHaveLength(1)
    hangUp.abort()
  })
  const job = await api.submit({ queue })
  const poll = fetch(`${proxy}/v1/executors/${executor}/poll`, {
    method: 'POST',
    headers: { authorization: `Bearer ${api.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ epoch, wait_ms: 20_000 }),
    signal: hangUp.signal,
  })
  await expect(poll).rejects.toMatchObject({ name: 'AbortError' })
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  for (let seq = 0; (await api.job(job.id)).state === 'leased'; seq += 1) {
    await api.post(`/v1/executors/${executor}/heartbeat`, { epoch, seq })
  }
  expect(await api.job(job.id)).toMatchObject(goneBack)
  const [again] = await api.poll(executor, epoch, { wait_ms: 20_000 })
  expect(again).toMatchObject({ job_id: job.id, attempt: 1, fence: 3 })
})
