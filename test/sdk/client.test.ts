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

test('a submit names its key in a header, too, where a balancer sees it; one that fits no header is in the body alone', async () => {
  const seen: (string | undefined)[] = []
  const url = await listen((request, response) => {
    seen.push(request.headers['idempotency-key'] as string | undefined)
    request.resume()
    response.end('{"job":{}}')
  })
  const client = new Client({ urls: [url], token: 'token' })
  onTestFinished(() => client.close())
  await client.submit({ kind: 'k', idempotency_key: 'order-17' })
  await client.submit({ kind: 'k', idempotency_key: 'Bestellung für 17' })
  await client.submit({ kind: 'k' })
  expect(seen).toEqual(['order-17', undefined, expect.stringMatching(/^[0-9a-f-]{36}$/)])
})
