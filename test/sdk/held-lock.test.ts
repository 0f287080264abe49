import { beforeEach, expect, test, vi } from 'vitest'
import { type HeldLock, UnavailableError } from '../../src/sdk/index.ts'
import { holding, startClient, startHeld } from '../support/held-lock.ts'

/** How long a holder believes to hold its lock, whatever becomes of its renewals. A renewal is good for 15 s, of
 *  which 3 s are kept, and 3 s go to the grace. */

/** Each try has a timeout by the machine's clock, which the hand clock does not turn: here none is over. */
beforeEach(() => {
  const endless = () => new AbortController().signal
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation(endless)
  return () => timeout.mockRestore()
})

const stateOf = ({ stopping, over, end }: HeldLock) => [stopping.aborted, over.aborted, end]
const isHeld = [false, false, undefined]

test('a lock is not held until a renewal that waited for nobody was answered', async () => {
  const { held, asked } = await startHeld()
  expect(asked.fired.map(({ type }) => type)).toEqual(['acquire', 'renew'])
  expect([held.name, held.fence, ...stateOf(held)]).toEqual(['l', 7, ...isHeld])
})

test('a renewal that is never answered: stopping with the grace left, over with the margin left', async () => {
  const { clock, held, nextRenewal } = await startHeld()
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
  const { clock, held, nextRenewal } = await startHeld()
  const { response } = await nextRenewal(5_000)
  await clock.advance(3_000)
  response.end(holding())
  // Once it was heard, the next is due 5 s after it was sent.
  await clock.untilAsleepUntil(10_000)
  await nextRenewal(2_000)
  await clock.advance(3_999)
  expect(stateOf(held)).toEqual(isHeld)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, false, 'unconfirmed'])
})

test('a renewal that is refused: stopping at once, over after the grace', async () => {
  const { clock, held, nextRenewal } = await startHeld()
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
  const { clock, held, asked } = await startHeld()
  await held.release()
  await clock.advance(60_000)
  expect(stateOf(held)).toEqual(isHeld)
  expect(asked.fired.map(({ type }) => type)).toEqual(['acquire', 'renew', 'release'])
})

test('a process that was stalled learns by asking, before any timer has fired', async () => {
  const { clock, held } = await startHeld()
  const { stopping, over } = held
  clock.stall(8_999)
  expect(stateOf(held)).toEqual(isHeld)
  clock.stall(1)
  expect([held.end, stopping.aborted, over.aborted]).toEqual(['unconfirmed', true, false])
  clock.stall(3_000)
  expect(held.over.aborted).toBe(true)
  expect(over.aborted).toBe(true)
})

test('what was over before it was released was not held to its end', async () => {
  const { clock, held } = await startHeld()
  clock.stall(12_000)
  await held.release()
  expect(stateOf(held)).toEqual([true, true, 'unconfirmed'])
})

test('each renewal says how long it is good for, and when the next is due', async () => {
  const { clock, held, nextRenewal } = await startHeld()
  const { response } = await nextRenewal(5_000)
  response.end(holding({ renew_ms: 2_000, valid_ms: 6_000 }))
  await clock.untilAsleepUntil(7_000)
  await nextRenewal(2_000)
  await clock.advance(1_599)
  expect(stateOf(held)).toEqual(isHeld)
  await clock.advance(1)
  expect(stateOf(held)).toEqual([true, false, 'unconfirmed'])
  await clock.advance(1_199)
  expect(held.over.aborted).toBe(false)
  await clock.advance(1)
  expect(held.over.aborted).toBe(true)
})

test('a renewal that had to be asked for again counts from when it was, and the lock is not born lost', async () => {
  const { clock, asked, replica, hold } = await startClient()
  replica.refuses = 'renew'
  const holding = hold()
  await asked.wait('renew')
  await clock.untilAsleepUntil(200)
  delete replica.refuses
  await clock.advance(13_000)
  const held = await holding
  expect(stateOf(held)).toEqual(isHeld)
  clock.stall(8_999)
  expect(stateOf(held)).toEqual(isHeld)
})

test('a lock that nobody confirms in time is given back', async () => {
  const { clock, asked, replica, hold } = await startClient()
  replica.refuses = 'renew'
  const refused = expect(hold()).rejects.toThrow(UnavailableError)
  await clock.untilAsleepUntil(200)
  await clock.advance(15_000)
  await refused
  expect(asked.fired.at(-1)?.type).toBe('release')
})
