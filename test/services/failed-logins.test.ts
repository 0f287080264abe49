import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLog } from '../../src/log.ts'
import { FailedLogins } from '../../src/services/failed-logins.ts'
import { LogLines } from '../support/log-lines.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function start(mostKept = 100) {
  const logged = new LogLines('info')
  const logins = new FailedLogins({ log: createLog('info', {}, logged), most: 2, mostKept })
  const isRefusal = ({ code }: { code: string }) => code === 'too_many_failures'
  let shown = 0
  return {
    logged,
    /** Another wrong token from there; whether it was one too many. */
    fail(address: string) {
      shown += 1
      return logins.note(address, `wrong ${shown}`).then(() => false, isRefusal)
    },
    isRefusedUnseen: (digest: string) => logins.refuseIfSpent(digest).then(() => false, isRefusal),
  }
}

test('an address is heard again a minute after its first failure', async () => {
  const { fail, logged } = start()
  expect(await fail('10.0.0.1')).toBe(false)
  vi.advanceTimersByTime(30_000)
  expect(await fail('10.0.0.1')).toBe(false)
  expect(await fail('10.0.0.1')).toBe(true)
  expect(await fail('10.0.0.2')).toBe(false)
  vi.advanceTimersByTime(29_000)
  expect(await fail('10.0.0.1')).toBe(true)
  vi.advanceTimersByTime(1_001)
  expect(await fail('10.0.0.1')).toBe(false)
  expect(await fail('10.0.0.1')).toBe(false)
  expect(await fail('10.0.0.1')).toBe(true)
  expect(logged.lines).toHaveLength(2)
})

test('an IPv6 address counts with all others of its network, an IPv4 address alone', async () => {
  const { fail } = start()
  await fail('2001:db8::1')
  await fail('2001:db8:0:0:ffff::2')
  expect(await fail('2001:db8:0:0:1:2:3:4')).toBe(true)
  expect(await fail('2001:db8:0:1::1')).toBe(false)
  await fail('::ffff:10.0.0.1')
  await fail('::ffff:10.0.0.1')
  expect(await fail('::ffff:10.0.0.1')).toBe(true)
  expect(await fail('::ffff:10.0.0.2')).toBe(false)
})

test('what is kept is bounded: addresses beyond share one count', async () => {
  const { fail, isRefusedUnseen } = start(3)
  for (const n of [1, 2, 3]) await fail(`10.0.0.${n}`)
  await fail('192.0.2.1')
  expect(await fail('192.0.2.2')).toBe(false)
  expect(await fail('192.0.2.3')).toBe(true)
  expect(await fail('10.0.0.1')).toBe(false)
  for (let n = 0; n < 20; n += 1) await fail(`192.0.2.${n}`)
  // Each count, and what is kept of its key: three and the shared one, of addresses and of tokens.
  expect(vi.getTimerCount()).toBe(2 * 2 * 4)
  expect(await isRefusedUnseen('good')).toBe(false)
  vi.advanceTimersByTime(60_001)
  expect(await fail('192.0.2.3')).toBe(false)
})
