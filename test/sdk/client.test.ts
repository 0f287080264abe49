import { expect, onTestFinished, test } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { Client } from '../../src/sdk/index.ts'
import { listen } from '../support/listen.ts'

test('waiting for a job is timed by a clock that never jumps', async () => {
  const url = await listen((_request, response) => response.end('{"job":{"finished_at":null}}'))
  let now = 0
  const clock: Clock = {
    monotonic: () => {
      now += 1_000
      return now
    },
    sleep: async () => undefined,
  }
  const client = new Client({ urls: [url], token: 'token' }, clock)
  onTestFinished(() => client.close())
  expect(await client.waitForJob('x', 3_600_000)).toMatchObject({ finished_at: null })
})
