import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'
import { history, settled, startExample } from './example.ts'
import { startFlakyProxy } from './flaky-proxy.ts'
import { beatOften, patient } from './pair.ts'

const db = useDatabase()
const files = ['agent.py', 'agent.sh']

/** The first leads, the second waits for the lock. */
async function startBoth(): Promise<[TestReplica, TestReplica]> {
  const first = await startActive(db, patient)
  const second = await startReplica(db, patient)
  await second.events.wait('standing')
  return [first, second]
}

test.each(files)(
  '%s: the active loses its lock while a job runs: it is finished under its fence, once',
  async (file) => {
    const [first, second] = await startBoth()
    const proxies = [first, second].map(({ api }) => startFlakyProxy(api.url, beatOften))
    const example = await startExample(file, first.api, await Promise.all(proxies))
    const { id } = await first.api.submit({ kind: 'wait', queue: example.id })
    await example.said(`running ${id} 1`)
    await db.terminate(`understudy ${first.app.identity.name} lock`)
    await second.api.untilActive()
    const before = await second.api.job(id)
    // Its heartbeats have found the successor.
    while ((await second.api.job(id)).lease_expires_at === before.lease_expires_at) await pause()
    await example.letGo()
    const job = await settled(second.api, id)
    expect(job).toMatchObject({ state: 'succeeded', fence: 1, lost_leases: 0 })
    expect(await history(second.api, id)).toMatchObject({
      attempts: [{ outcome: 'succeeded', fence: 1, epoch: 1 }],
      late_reports: [],
    })
    expect(await example.runs()).toEqual([`${id} 1`])
  },
)

test.each(files)(
  '%s: a job ends while the active hands over: its report is told until it is answered',
  async (file) => {
    const [first, second] = await startBoth()
    const example = await startExample(file, first.api, [first.api.url, second.api.url])
    const { id } = await first.api.submit({ kind: 'wait', queue: example.id })
    await example.said(`running ${id} 1`)
    const stopped = first.app.stop()
    await example.letGo()
    expect(await settled(second.api, id)).toMatchObject({ state: 'succeeded', fence: 1 })
    expect((await history(second.api, id)).attempts).toMatchObject([{ outcome: 'succeeded' }])
    await stopped
    const next = await second.api.submit({ kind: 'echo', queue: example.id, payload: 7 })
    expect(await settled(second.api, next.id)).toMatchObject({ result: 7, fence: 1, epoch: null })
    expect(await example.runs()).toEqual([`${id} 1`, `${next.id} 1`])
  },
)
