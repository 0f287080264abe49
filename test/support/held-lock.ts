import type { ServerResponse } from 'node:http'
import { onTestFinished } from 'vitest'
import { Client } from '../../src/sdk/index.ts'
import { HandClock } from './hand-clock.ts'
import { listen } from './listen.ts'
import { Signals } from './signals.ts'

interface Asked {
  type: string
  response: ServerResponse
}

/** What an acquire or renewal is answered. */
export function holding(more: { renew_ms?: number; valid_ms?: number } = {}): string {
  return JSON.stringify({
    name: 'l',
    fence: 7,
    expires_at: '2026-01-01T00:00:15.000Z',
    ends_at: '2026-01-01T00:01:00.000Z',
    renew_ms: 5_000,
    valid_ms: 15_000,
    ...more,
  })
}

/** A client of a replica whose answers the test gives, and that by itself says yes. */
export async function startClient() {
  const clock = new HandClock()
  const asked = new Signals<Asked>()
  /** What it does not answer, and which requests it is not there for. */
  const replica: { isAnswering: boolean; refuses?: string } = { isAnswering: true }
  const url = await listen((request, response) => {
    request.resume()
    const type = request.url?.split('/').at(-1) ?? ''
    if (type === replica.refuses) response.writeHead(503).end('{}')
    else if (replica.isAnswering) response.end(holding())
    asked.fire({ type, response })
  })
  const client = new Client({ urls: [url], token: 'token' }, clock)
  onTestFinished(() => client.close())
  const hold = () => client.locks.hold('l', { owner: 'o', ttlMs: 60_000 })
  return { clock, asked, replica, hold }
}

/** One that holds a lock. */
export async function startHeld() {
  const { clock, asked, replica, hold } = await startClient()
  const held = await hold()
  const renewals = () => asked.fired.filter(({ type }) => type === 'renew')
  /** The next renewal, left unanswered. */
  const nextRenewal = async (ms: number) => {
    replica.isAnswering = false
    const before = renewals().length
    await clock.advance(ms)
    return await asked.wait('renew', (each) => renewals().indexOf(each as Asked) >= before)
  }
  return { clock, asked, held, nextRenewal }
}
