import { expect, test } from 'vitest'
import { ConfigError, loadClientEnv, loadConfig } from '../src/config.ts'

const good = { DATABASE_URL: 'postgres://localhost/x' }

function faultsOf(env: Record<string, string>): string[] {
  try {
    loadConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

test('only DATABASE_URL is required; the rest has the defaults of DESIGN 11', () => {
  expect(loadConfig(good)).toMatchObject({
    leaderDatabaseUrl: good.DATABASE_URL,
    port: 4600,
    role: 'all',
    lostLeaseBudget: 5,
    timings: {
      pingMs: 500,
      trustWindowMs: 2_000,
      idleSessionTimeoutMs: 3_000,
      lockSliceMs: 900,
      pollWaitMs: 20_000,
      pollWaitCapMs: 25_000,
      heartbeatMs: 5_000,
      leaseTtlMs: 30_000,
      selfFenceMs: 20_000,
      sweepIntervalMs: 5_000,
    },
  })
})

test('an empty variable is an unset one', () => {
  expect(loadConfig({ ...good, UNDERSTUDY_ROLE: '', UNDERSTUDY_PORT: '' })).toMatchObject({
    role: 'all',
    port: 4600,
  })
  expect(faultsOf({ DATABASE_URL: '' })).toEqual(['DATABASE_URL is not set'])
})

test.each(['mysql://localhost/x', 'postgres://localhost:port/x', 'postgres://[::1/x'])(
  'a URL of a database that is none is refused before anything starts, and not repeated: %s',
  (url) => {
    for (const name of ['DATABASE_URL', 'UNDERSTUDY_LEADER_DATABASE_URL']) {
      const [fault = '', ...others] = faultsOf({ ...good, [name]: url })
      expect([fault.split(':')[0], others]).toEqual([name, []])
      expect(fault).not.toContain(url)
    }
  },
)

test.each([
  'postgres://u:p%23@h:5432/x?sslmode=require',
  'postgresql:///x?host=/var/run/postgresql',
])('a URL of a database as pg reads it is accepted: %s', (url) => {
  expect(loadConfig({ DATABASE_URL: url }).databaseUrl).toBe(url)
})

test('metrics have a port of their own only if one is given, and it is not the other one', () => {
  expect(loadConfig(good).metricsPort).toBeUndefined()
  const own = { ...good, UNDERSTUDY_METRICS_PORT: '9464' }
  expect(loadConfig(own)).toMatchObject({ port: 4600, metricsPort: 9464 })
  const fault = 'UNDERSTUDY_METRICS_PORT must not be UNDERSTUDY_PORT'
  expect(faultsOf({ ...own, UNDERSTUDY_PORT: '9464' })).toEqual([fault])
  expect(faultsOf({ ...own, UNDERSTUDY_PORT: '9464', UNDERSTUDY_ROLE: 'x' })).toContain(fault)
  const free = { ...good, UNDERSTUDY_PORT: '0', UNDERSTUDY_METRICS_PORT: '0' }
  expect(loadConfig(free).metricsPort).toBe(0)
})

test('localhost, for which there would be two servers, is one address', () => {
  for (const host of ['localhost', 'LOCALHOST']) {
    expect(loadConfig({ ...good, UNDERSTUDY_HOST: host }).host).toBe('127.0.0.1')
  }
})

test('every fault is listed in one message, values and durations alike', () => {
  expect(
    faultsOf({
      UNDERSTUDY_PORT: '70000',
      UNDERSTUDY_ROLE: 'leader',
      UNDERSTUDY_ADVERTISED_URL: 'ftp://x',
      UNDERSTUDY_ACTIVE_LOCK_ID: '9223372036854775808',
      UNDERSTUDY_ADMIN_TOKEN: 'short',
      UNDERSTUDY_TRUST_WINDOW_MS: '900',
      UNDERSTUDY_LEASE_TTL_MS: '15000',
    }).map((fault) => fault.split(/[: ]/)[0]),
  ).toEqual(
    [
      'DATABASE_URL',
      'UNDERSTUDY_ADVERTISED_URL',
      'UNDERSTUDY_ROLE',
      'UNDERSTUDY_PORT',
      'UNDERSTUDY_ACTIVE_LOCK_ID',
      'UNDERSTUDY_ADMIN_TOKEN',
      'UNDERSTUDY_TRUST_WINDOW_MS',
      'UNDERSTUDY_LEASE_TTL_MS',
    ].sort((a, b) => order.indexOf(a) - order.indexOf(b)),
  )
})

/** The order of the schema, then that of the rules. */
const order = [
  'DATABASE_URL',
  'UNDERSTUDY_PORT',
  'UNDERSTUDY_ADVERTISED_URL',
  'UNDERSTUDY_ROLE',
  'UNDERSTUDY_ACTIVE_LOCK_ID',
  'UNDERSTUDY_ADMIN_TOKEN',
  'UNDERSTUDY_TRUST_WINDOW_MS',
  'UNDERSTUDY_LEASE_TTL_MS',
]

test.each([
  [{ UNDERSTUDY_LEADER_PING_MS: '1000' }, 'UNDERSTUDY_TRUST_WINDOW_MS'],
  [{ UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '2000' }, 'UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS'],
  [{ UNDERSTUDY_LOCK_SLICE_MS: '3000' }, 'UNDERSTUDY_LOCK_SLICE_MS'],
  [{ UNDERSTUDY_SELF_FENCE_MS: '12999' }, 'UNDERSTUDY_SELF_FENCE_MS'],
  [{ UNDERSTUDY_SELF_FENCE_MS: '20001' }, 'UNDERSTUDY_LEASE_TTL_MS'],
  [{ UNDERSTUDY_HEARTBEAT_MS: '10001' }, 'UNDERSTUDY_LEASE_TTL_MS'],
  [{ UNDERSTUDY_POLL_WAIT_MS: '25001' }, 'UNDERSTUDY_POLL_WAIT_MS'],
  [{ UNDERSTUDY_POLL_WAIT_CAP_MS: '30000' }, 'UNDERSTUDY_POLL_WAIT_CAP_MS'],
  [{ UNDERSTUDY_RUN_TIMEOUT_GRACE_MS: '29999' }, 'UNDERSTUDY_RUN_TIMEOUT_GRACE_MS'],
])('durations that do not hold together are refused: %o', (env, name) => {
  const faults = faultsOf({ ...good, ...env })
  expect(faults.some((fault) => fault.startsWith(name))).toBe(true)
})

test('durations at their limits are accepted', () => {
  expect(
    faultsOf({
      ...good,
      UNDERSTUDY_LEADER_PING_MS: '999',
      UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '2001',
      UNDERSTUDY_SELF_FENCE_MS: '13000',
      UNDERSTUDY_LEASE_TTL_MS: '23000',
      UNDERSTUDY_RUN_TIMEOUT_GRACE_MS: '30000',
    }),
  ).toEqual([])
})

test('a lock id may be any bigint', () => {
  for (const id of ['-9223372036854775808', '9223372036854775807', '0', '42']) {
    expect(loadConfig({ ...good, UNDERSTUDY_ACTIVE_LOCK_ID: id }).activeLockId).toBe(id)
  }
  for (const id of ['1.5', 'x', '', '0x10', '-9223372036854775809']) {
    expect(faultsOf({ ...good, UNDERSTUDY_ACTIVE_LOCK_ID: id }).length).toBe(id === '' ? 0 : 1)
  }
})

test('replica URLs of a client are a comma-separated list', () => {
  expect(loadClientEnv({ UNDERSTUDY_URLS: 'http://a:1/, https://b' }).urls).toEqual([
    'http://a:1',
    'https://b',
  ])
  expect(() => loadClientEnv({ UNDERSTUDY_URLS: 'a,b' })).toThrow('UNDERSTUDY_URLS')
})
