import pg from 'pg'
import { AppError } from '../errors.ts'

/** What an error of the driver means for its caller. */

/** Raised by fence_term(): the term is over. Step down now, never retry. */
export const termOver = 'UNT01'

export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** Serialization failure and deadlock: the whole transaction may be run again. */
export function isRetryable(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40001' || state === '40P01'
}

/** Classes that are about the statement, the session, the login or the database, whatever the row. */
const nobodysFault = /^(0A|25|26|28|3D|42)/

/** What the database refuses of a batch that one row of it may be at fault for: nothing of it was written. The doors have
 *  told apart what is about the moment or the term. */
export function isItemFault(error: unknown): boolean {
  const state = sqlState(error)
  return state !== undefined && !nobodysFault.test(state)
}

/** The same, and what the driver cannot read of a row, for which it has no class. Only for what is all done in one
 *  transaction that was not committed. */
export function mayBeOneRowsFault(error: unknown): boolean {
  return !(error instanceof AppError) && (sqlState(error) === undefined || isItemFault(error))
}

const unavailableStates = /^(08|53|57|58|25006|25P03|55P03|40)/

/** A session that is lost, refused, timed out or shut down: nothing is known to be wrong with the
 *  request, and it may be sent again. Anything else is a fault of ours and passes through. */
export function asUnavailable(error: unknown): unknown {
  const state = sqlState(error)
  if (state !== undefined) {
    return unavailableStates.test(state) ? unavailable(error) : error
  }
  return isConnectionFailure(error) ? unavailable(error) : error
}

function unavailable(cause: unknown): AppError {
  return new AppError('database_unavailable', 'the database did not answer; try again', { cause })
}

const networkCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
])

/** The driver has no class for these, only messages (pg 8.23, pg-pool 3.14). */
const driverMessages =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end)/

/** Whether a session that failed so may be used again: not after an error of the driver or the network,
 *  and not if it is read-only, which it would stay when its server is no longer. */
export function isInStep(error: unknown): boolean {
  return !isConnectionFailure(error) && sqlState(error) !== '25006'
}

function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: string }
  return (code !== undefined && networkCodes.has(code)) || driverMessages.test(error.message)
}
