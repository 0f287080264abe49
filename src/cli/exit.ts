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
} as const

export const exitCodesHelp = `
Exit codes:
  0  done
  1  it failed, or was refused for a reason not below
  2  wrong usage or configuration, or a request with a faulty field
  3  there is no such job, executor or token
  4  the token is missing, unknown, expired or not allowed to do this
  5  no replica could be reached, or none would serve the request`

/** A mistake in how a command was called. */
export class UsageError extends Error {}

/** Says what went wrong on stderr, and returns the exit code for it. */
export function report(error: unknown, asJson: boolean): number {
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  const faults = error instanceof ApiError ? error.faults : []
  if (asJson) {
    process.stderr.write(`${JSON.stringify({ error: { code, message, errors: faults } })}\n`)
  } else {
    const lines = [
      `error: ${message}${error instanceof ApiError ? ` (${error.code})` : ''}`,
      ...faults.slice(1).map((fault) => `  ${fault.path}: ${fault.message}`),
    ]
    process.stderr.write(`${lines.join('\n')}\n`)
  }
  return exitCodeOf(error)
}

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError || error instanceof UsageError) return exitCodes.usage
  if (error instanceof UnavailableError) return exitCodes.unavailable
  if (!(error instanceof ApiError)) return exitCodes.failed
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
