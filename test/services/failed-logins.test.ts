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

function start(most = 2) {
  const logged = new LogLines('info')
  const logins = new FailedLogins({ log: createLog('info', {}, logged), most, mostKept: 3 })
  const isRefused = (address: string, digest = 'unseen') =>
    logins.refuseIfSpent(address, digest).then(
      () => false,
      ({ code }) => code === 'too_many_failures',
    )
  return { logins, isRefused, logged }
}

test('an address is heard again a minute after its first failure', async () => {
  const { logins, isRefused, logged } = start()
  await logins.note('10.0.0.1', 'a')
  vi.advanceTimersByTime(30_000)
  await logins.note('10.0.0.1', 'b')
  expect(await isRefused('10.0.0.1')).toBe(true)
  expect(await isRefused('10.0.0.2')).toBe(false)
  vi.advanceTimersByTime(29_000)
  expect(await isRefused('10.0.0.1')).toBe(true)
  vi.advanceTimersByTime(1_001)
  expect(await isRefused('10.0.0.1')).toBe(false)
  await logins.note('10.0.0.1', 'c')
  await logins.note('10.0.0.1', 'd')
  expect(await isRefused('10.0.0.1')).toBe(true)
  expect(logged.lines).toHaveLength(2)
})

test('an IPv6 address counts with all others of its network, an IPv4 address alone', async () => {
  const { logins, isRefused } = start()
  await logins.note('2001:db8::1', 'a')
  await logins.note('2001:db8:0:0:ffff::2', 'b')
  expect(await isRefused('2001:db8:0:0:1:2:3:4')).toBe(true)
  expect(await isRefused('2001:db8:0:1::1')).toBe(false)
  await logins.note('::ffff:10.0.0.1', 'c')
  await logins.note('::ffff:10.0.0.1', 'd')
  expect(await isRefused('::ffff:10.0.0.1')).toBe(true)
  expect(await isRefused('::ffff:10.0.0.2')).toBe(false)
})

test('what is kept is bounded: addresses beyond share one count', async () => {
  const { logins, isRefused } = start()
  for (const n of [1, 2, 3]) await logins.note(`10.0.0.${n}`, `${n}`)
  expect(await isRefused('192.0.2.1')).toBe(false)
  await logins.note('192.0.2.1', 'x')
  await logins.note('192.0.2.2', 'y')
  expect(await isRefused('192.0.2.3')).toBe(true)
  expect(await isRefused('10.0.0.1')).toBe(false)
  for (let n = 0; n < 20; n += 1) await logins.note(`192.0.2.${n}`, `more ${n}`)
  // Each count, and what is kept of its key: three and the shared one, of addresses and of tokens.
  expect(vi.getTimerCount()).toBe(2 * 2 * 4)
  vi.advanceTimersByTime(60_001)
  expect(await isRefused('192.0.2.3')).toBe(false)
  expect(vi.getTimerCount()).toBe(0)
})
