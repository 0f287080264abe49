import { ConfigError } from '../config.ts'
import { ApiError, UnavailableError } from '../sdk/index.ts'

/** What every command's exit code means. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  unavailable: 5,
  lockHeld: 75,
  lockLost: 76,
  notStarted: 127,
} as const

export const exitCodesHelp = `
Exit codes:
  0  done
  1  it failed, or was refused for a reason not below
  2  wrong usage or configuration, or a request with a faulty field
  3  there is no such job, executor, token or lock
  4  the token is missing, unknown, expired or not allowed to do this
  5  no replica could be reached, or none would serve the request
  75  another has the lock; for lock run: the command was not started
  76  lock run: the lock was lost, and the command stopped
  127  lock run: the command cannot be started`

/** A mistake in how a command was called. */
export class UsageError extends Error {
  readonly code = 'usage'

  constructor(message: string) {
    super(message.replace(/^error: /, ''))
  }
}

/** `lock run` had the lock, and does not have it any more. */
export class LockLostError extends Error {
  readonly code = 'lock_lost'
}

/** `lock run` had the lock, and nothing to run. */
export class NotStartedError extends Error {
  readonly code = 'not_started'
}

/** The job was submitted; what went wrong came after that. */
export class WaitError extends Error {
  readonly jobId: string

  constructor(jobId: string, cause: unknown) {
    super(`job ${jobId}`, { cause })
    this.jobId = jobId
  }
}

/** Says what went wrong on stderr, and returns the exit code for it. */
export function report(reported: unknown, asJson: boolean): number {
  const isWait = reported instanceof WaitError
  const error = isWait ? reported.cause : reported
  const message = error instanceof Error ? error.message : String(error)
  const errors = error instanceof ApiError ? error.faults : []
  if (asJson) {
    const job = isWait ? { job_id: reported.jobId } : {}
    const told = { code: codeOf(error), message, errors, ...job }
    process.stderr.write(`${JSON.stringify({ error: told })}\n`)
  } else {
    const lines = [
      `error: ${message}${error instanceof ApiError ? ` (${error.code})` : ''}`,
      ...errors.slice(1).map((fault) => `  ${fault.path}: ${fault.message}`),
    ]
    process.stderr.write(`${lines.join('\n')}\n`)
  }
  return exitCodeOf(error)
}

function codeOf(error: unknown): string {
  if (error instanceof ConfigError) return 'configuration'
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'failed'
}

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError || error instanceof UsageError) return exitCodes.usage
  if (error instanceof UnavailableError) return exitCodes.unavailable
  if (error instanceof LockLostError) return exitCodes.lockLost
  if (error instanceof NotStartedError) return exitCodes.notStarted
  if (!(error instanceof ApiError)) return exitCodes.failed
  if (error.code === 'lock_held') return exitCodes.lockHeld
  switch (error.status) {
    case 400:
    case 413:
      return exitCodes.usage
    case 401:
    case 403:
      return exitCodes.notAllowed
    case 404:
      return exitCodes.notFound
    default:
      return exitCodes.failed
  }
}
