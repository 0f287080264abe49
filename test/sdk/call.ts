import { onTestFinished } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { ReplicaList } from '../../src/sdk/replica-list.ts'
import { type Call, Transport } from '../../src/sdk/transport.ts'
import { listen } from '../support/listen.ts'

/** One call, on a clock that only sleeping moves on. */
export function call(urls: string[], more: Partial<Call> = {}, sleeps: number[] = []) {
  let now = 0
  const clock: Clock = {
    monotonic: () => now,
    sleep: async (ms) => {
      sleeps.push(ms)
      now += ms
    },
  }
  const replicas = new ReplicaList(urls, clock)
  const transport = new Transport(replicas, 'token', clock)
  onTestFinished(() => transport.close())
  const answer = transport.call<unknown>({
    method: 'POST',
    path: '/x',
    timeoutMs: 30_000,
    patienceMs: 60_000,
    isRepeatable: true,
    ...more,
  })
  return { answer, replicas, transport }
}

export const serve = (body: unknown) =>
  listen((_request, response) => response.end(JSON.stringify(body)))

export const refuse = (problem: object) =>
  listen((_request, response) => {
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' })
    response.end(JSON.stringify({ status: 503, ...problem }))
  })
