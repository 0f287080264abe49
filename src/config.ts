import { hostname } from 'node:os'
import { z } from 'zod'
import { faultyTimings, type Timings } from './timings.ts'

/** The only reader of process.env. Every fault is listed in one message, before anything starts. */
export class ConfigError extends Error {
  readonly faults: string[]

  constructor(faults: string[]) {
    super(`configuration refused:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

type Env = Record<string, string | undefined>

const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n }

const milliseconds = (fallback: number, max = 3_600_000) =>
  z.coerce.number().int().min(1).max(max).default(fallback)

const postgresUrl = z
  .string()
  .refine(
    (value) => /^postgres(ql)?:\/\//.test(value),
    'must be a postgres:// or postgresql:// URL',
  )
  .refine((value) => URL.canParse(value), 'must be a well-formed URL')

const httpUrl = z
  .string()
  .refine((value) => URL.canParse(value), 'must be a URL')
  .refine((value) => /^https?:/.test(value), 'must be an http:// or https:// URL')

const lockId = z
  .string()
  .regex(/^-?\d{1,20}$/, 'must be a whole number')
  .refine((value) => {
    const number = /^-?\d{1,20}$/.test(value) ? BigInt(value) : 0n
    return number >= int64.min && number <= int64.max
  }, 'must fit into a bigint (-2^63 to 2^63-1)')

/** The variables of a replica. */
export const serverSchema = z.object({
  DATABASE_URL: postgresUrl,
  UNDERSTUDY_LEADER_DATABASE_URL: postgresUrl.optional(),
  UNDERSTUDY_HOST: z
    .string()
    // Fastify opens a second server for localhost, to which no limit on connections would apply.
    .transform((host) => (host.toLowerCase() === 'localhost' ? '127.0.0.1' : host))
    .default('127.0.0.1'),
  UNDERSTUDY_PORT: z.coerce.number().int().min(0).max(65_535).default(4600),
  UNDERSTUDY_METRICS_PORT: z.coerce.number().int().min(0).max(65_535).optional(),
  UNDERSTUDY_ADVERTISED_URL: httpUrl.optional(),
  UNDERSTUDY_NAME: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/, 'must be 1 to 64 letters, digits, . _ : or -')
    .optional(),
  UNDERSTUDY_ROLE: z.enum(['all', 'api']).default('all'),
  UNDERSTUDY_ACTIVE_LOCK_ID: lockId.default('504946615666'),
  UNDERSTUDY_ADMIN_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]{8,256}$/, 'must be 8 to 256 printable characters without blanks')
    .optional(),
  UNDERSTUDY_LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info'),
  UNDERSTUDY_POOL_SIZE: z.coerce.number().int().min(2).max(200).default(10),
  UNDERSTUDY_MAX_CONNECTIONS: z.coerce.number().int().min(10).max(1_000_000).default(32_000),
  UNDERSTUDY_FAILED_LOGINS_PER_MINUTE: z.coerce.number().int().min(1).max(1_000_000).default(30),
  UNDERSTUDY_LEADER_PING_MS: milliseconds(500),
  UNDERSTUDY_TRUST_WINDOW_MS: milliseconds(2_000),
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: milliseconds(3_000),
  UNDERSTUDY_LOCK_SLICE_MS: milliseconds(900),
  UNDERSTUDY_POLL_WAIT_MS: milliseconds(20_000),
  UNDERSTUDY_POLL_WAIT_CAP_MS: milliseconds(25_000),
  UNDERSTUDY_HEARTBEAT_MS: milliseconds(5_000),
  UNDERSTUDY_LEASE_TTL_MS: milliseconds(30_000),
  UNDERSTUDY_SELF_FENCE_MS: milliseconds(20_000),
  UNDERSTUDY_CLIENT_BACKOFF_CAP_MS: milliseconds(5_000),
  UNDERSTUDY_SWEEP_INTERVAL_MS: milliseconds(5_000),
  UNDERSTUDY_CANCEL_GRACE_MS: milliseconds(30_000),
  UNDERSTUDY_RUN_TIMEOUT_GRACE_MS: milliseconds(60_000),
  UNDERSTUDY_LOST_LEASE_BUDGET: z.coerce.number().int().min(0).max(1_000).default(5),
})

export interface Config {
  databaseUrl: string
  leaderDatabaseUrl: string
  host: string
  port: number
  /** Undefined: metrics are told on `port`. */
  metricsPort: number | undefined
  /** Undefined: derived from host and the port that was bound. */
  advertisedUrl: string | undefined
  name: string
  role: 'all' | 'api'
  activeLockId: string
  adminToken: string | undefined
  logLevel: string
  poolSize: number
  maxConnections: number
  failedLoginsPerMinute: number
  lostLeaseBudget: number
  timings: Timings
}

/** An empty variable counts as unset: that is how shells and compose files leave one out. */
function present(env: Env): Env {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
}

function parse<T>(schema: z.ZodType<T>, env: Env) {
  const given = present(env)
  const parsed = schema.safeParse(given)
  if (parsed.success) return { values: parsed.data, faults: [], names: [] }
  const issues = parsed.error.issues.map(({ path, message }) => ({ name: path.join('.'), message }))
  const faults = issues.map(({ name, message }) =>
    given[name.split('.')[0] ?? ''] === undefined ? `${name} is not set` : `${name}: ${message}`,
  )
  return { values: undefined, faults, names: issues.map(({ name }) => name) }
}

function timingsOf(values: z.infer<typeof serverSchema>): Timings {
  return Object.freeze({
    pingMs: values.UNDERSTUDY_LEADER_PING_MS,
    trustWindowMs: values.UNDERSTUDY_TRUST_WINDOW_MS,
    idleSessionTimeoutMs: values.UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS,
    lockSliceMs: values.UNDERSTUDY_LOCK_SLICE_MS,
    pollWaitMs: values.UNDERSTUDY_POLL_WAIT_MS,
    pollWaitCapMs: values.UNDERSTUDY_POLL_WAIT_CAP_MS,
    heartbeatMs: values.UNDERSTUDY_HEARTBEAT_MS,
    leaseTtlMs: values.UNDERSTUDY_LEASE_TTL_MS,
    selfFenceMs: values.UNDERSTUDY_SELF_FENCE_MS,
    clientBackoffCapMs: values.UNDERSTUDY_CLIENT_BACKOFF_CAP_MS,
    sweepIntervalMs: values.UNDERSTUDY_SWEEP_INTERVAL_MS,
    cancelGraceMs: values.UNDERSTUDY_CANCEL_GRACE_MS,
    runTimeoutGraceMs: values.UNDERSTUDY_RUN_TIMEOUT_GRACE_MS,
  })
}

/** Values that are sound each by itself, and not together. */
function unsound(values: z.infer<typeof serverSchema>): string[] {
  const { UNDERSTUDY_PORT: port, UNDERSTUDY_METRICS_PORT: metricsPort } = values
  const isTaken = port !== 0 && port === metricsPort
  return [
    ...faultyTimings(timingsOf(values)),
    ...(isTaken ? ['UNDERSTUDY_METRICS_PORT must not be UNDERSTUDY_PORT'] : []),
  ]
}

/** What could be read is held together even where another variable is at fault, so that one message names
 *  everything. */
function unsoundBeside(faulty: string[], env: Env): string[] {
  const rest = Object.fromEntries(Object.entries(env).filter(([name]) => !faulty.includes(name)))
  const { values } = parse(serverSchema, { DATABASE_URL: 'postgres://unused', ...rest })
  return values ? unsound(values) : []
}

/** Reads the configuration of a replica. Throws ConfigError with every fault. */
export function loadConfig(env: Env = process.env): Config {
  const { values, faults, names } = parse(serverSchema, env)
  if (!values) throw new ConfigError([...faults, ...unsoundBeside(names, env)])
  const together = unsound(values)
  if (together.length > 0) throw new ConfigError(together)
  return Object.freeze({
    databaseUrl: values.DATABASE_URL,
    leaderDatabaseUrl: values.UNDERSTUDY_LEADER_DATABASE_URL ?? values.DATABASE_URL,
    host: values.UNDERSTUDY_HOST,
    port: values.UNDERSTUDY_PORT,
    metricsPort: values.UNDERSTUDY_METRICS_PORT,
    advertisedUrl: values.UNDERSTUDY_ADVERTISED_URL?.replace(/\/+$/, ''),
    name: values.UNDERSTUDY_NAME ?? `${hostname().slice(0, 48)}-${values.UNDERSTUDY_PORT}`,
    role: values.UNDERSTUDY_ROLE,
    activeLockId: values.UNDERSTUDY_ACTIVE_LOCK_ID,
    adminToken: values.UNDERSTUDY_ADMIN_TOKEN,
    logLevel: values.UNDERSTUDY_LOG_LEVEL,
    poolSize: values.UNDERSTUDY_POOL_SIZE,
    maxConnections: values.UNDERSTUDY_MAX_CONNECTIONS,
    failedLoginsPerMinute: values.UNDERSTUDY_FAILED_LOGINS_PER_MINUTE,
    lostLeaseBudget: values.UNDERSTUDY_LOST_LEASE_BUDGET,
    timings: timingsOf(values),
  })
}

/** The variables of a client. */
export const clientSchema = z.object({
  UNDERSTUDY_URLS: z
    .string()
    .transform((list) => list.split(',').map((url) => url.trim().replace(/\/+$/, '')))
    .pipe(z.array(httpUrl).min(1))
    .optional(),
  UNDERSTUDY_TOKEN: z
    .string()
    .trim()
    .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII characters without blanks')
    .optional(),
})

export interface ClientEnv {
  urls: string[] | undefined
  token: string | undefined
}

/** Reads where a client finds the replicas and which token it shows. Throws ConfigError. */
export function loadClientEnv(env: Env = process.env): ClientEnv {
  const { values, faults } = parse(clientSchema, env)
  if (!values) throw new ConfigError(faults)
  return { urls: values.UNDERSTUDY_URLS, token: values.UNDERSTUDY_TOKEN }
}

/** What an agent tells the commands that it runs of their job. */
const leaseSchema = z.object({
  UNDERSTUDY_JOB_ID: z.string().optional(),
  UNDERSTUDY_FENCE: z.coerce.number().int().min(1).optional(),
  UNDERSTUDY_EXECUTOR_ID: z.string().optional(),
  UNDERSTUDY_EPOCH: z.coerce.number().int().min(1).optional(),
})

/** Whose lease a command works under, as far as its agent says. Throws ConfigError. */
export function loadLeaseEnv(env: Env = process.env) {
  const { values, faults } = parse(leaseSchema, env)
  if (!values) throw new ConfigError(faults)
  return {
    jobId: values.UNDERSTUDY_JOB_ID,
    fence: values.UNDERSTUDY_FENCE,
    executorId: values.UNDERSTUDY_EXECUTOR_ID,
    epoch: values.UNDERSTUDY_EPOCH,
  }
}

const databaseSchema = z.object({ DATABASE_URL: postgresUrl.optional() })

/** The database for `migrate` and `dev`; undefined where none is given. Throws ConfigError. */
export function loadDatabaseUrl(env: Env = process.env): string | undefined {
  const { values, faults } = parse(databaseSchema, env)
  if (!values) throw new ConfigError(faults)
  return values.DATABASE_URL
}

/** What the commands that an agent runs inherit. */
export function inheritedEnv(): Env {
  return { ...process.env }
}
