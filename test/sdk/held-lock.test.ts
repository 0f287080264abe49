import type { ServerResponse } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { Client, type HeldLock } from '../../src/sdk/index.ts'
import { HandClock } from '../support/hand-clock.ts'
import { listen } from '../support/listen.ts'
import { Signals } from '../support/signals.ts'

/** How long a holder believes to hold its lock, whatever becomes of its renewals. A renewal is good for 15 s, of
 *  which 3 s are kept, and 3 s go to the grace. */

interface Asked {
  type: string
  response: ServerResponse
}

const holding = JSON.stringify({
  name: 'l',
  fence: 7,
  expires_at: '2026-01-01T00:00:15.000Z',
  ends_at: '2026-01-01T00:01:00.000Z',
  renew_ms: 5_000,
  valid_ms: 15_000,
})

async function start() {
  const clock = new HandClock()
  const asked = new Signals<Asked>()
  let isAnswering = true
  const url = await listen((request, response) => {
    request.resume()
    const type = request.url?.split('/').at(-1) ?? ''
    if (isAnswering) response.end(holding)
    asked.fire({ type, response })
  })
  const client = new Client({ urls: [url], token: 'token' }, clock)
  onTestFinished(() => client.close())
  const held = await client.locks.hold('l', { owner: 'o', ttlMs: 60_000 })
  const renewals = () => asked.fired.filter(({ type }) => type === 'renew')
  /** The next renewal, left unanswered. */
  const nextRenewal = async (ms: number) => {
    isAnswering = false
    const before = renewals().length
    await clock.advance(ms)
    return await asked.wait('renew', (each) => renewals().indexOf(each as Asked) >= before)
  }
  return { clock, asked, held, renewals, nextRenewal }
}

const stateOf = ({ stopping, over, end }: HeldLock) => [stopping.aborted, over.aborted, end]
const isHeld = [false, false, undefined]

test('a lock is not held until a renewal that waited for nobody was answered', async () => {
  const { held, asked } = await start()
  expect(asked.fired.map(({ type }) => type)).toEqual(['acquire', 'renew'])
  expect([held.name, held.fence, ...stateOf(held)]).toEqual(['l', 7, ...isHeld])
})

test('a renewal that is never answered: stopping with the grace left, over with the margin left', async () => {
  const { clock, held, nextRenewal } = await start()
  await nextRenewal(5_000)
  await clock.advance(3_999)
  expect(stateOf(held)).toEqual(isHeld)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, false, 'unconfirmed'])
  await clock.advance(2_999)
  expect(held.over.aborted).toBe(false)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, true, 'unconfirmed'])
})

test('a renewal that is answered late is good from when it was sent', async () => {
  const { clock, held, nextRenewal } = await start()
  const { response } = await nextRenewal(5_000)
  await clock.advance(3_000)
  response.end(holding)
  // Once it was heard, the next is due 5 s after it was sent.
  await clock.untilAsleepUntil(10_000)
  await nextRenewal(2_000)
  await clock.advance(3_999)
  expect(stateOf(held)).toEqual(isHeld)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, false, 'unconfirmed'])
})

test('a renewal that is refused: stopping at once, over after the grace', async () => {
  const { clock, held, nextRenewal } = await start()
  const { response } = await nextRenewal(5_000)
  response.writeHead(409).end('{"code":"stale_fence","detail":"gone"}')
  while (!held.stopping.aborted) await clock.advance(0)
  expect(stateOf(held)).toEqual([true, false, 'lost'])
  await clock.advance(2_999)
  expect(held.over.aborted).toBe(false)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, true, 'lost'])
})

test('once released, nothing aborts any more', async () => {
  const { clock, held, asked } = await start()
  await held.release()
  await clock.advance(60_000)
  expect(stateOf(held)).toEqual(isHeld)
  expect(asked.fired.map(({ type }) => type)).toEqual(['acquire', 'renew', 'release'])
})
