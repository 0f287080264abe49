import { expect } from 'vitest'
import { pause } from './pause.ts'
import type { TestReplica } from './replica.ts'

/** Waits until the replica refuses its database for this reason, and nothing is served by it. */
export async function expectRefused(
  { api, app, events }: TestReplica,
  reason: string,
  detail: string,
) {
  while (app.watch.refusals.length === 0) await pause()
  expect(app.watch.refusals).toMatchObject([{ reason }])
  for (const path of ['/health/ready', '/health/active', '/v1/jobs']) {
    const answer = await api.get(path)
    expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
    expect(answer.body.detail).toContain(`${reason}: ${detail}`)
  }
  expect((await api.get('/health/live')).status).toBe(200)
  expect(events.fired).toEqual([])
}
