import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply } from 'fastify'
import type { z } from 'zod'
import type { Problem } from '../contract/common.ts'
import { AppError, type ErrorCode, errorTable, type Fault } from '../errors.ts'

/** What a 503 adds, so that a client knows where to go and when. */
export interface Whereabouts {
  role: string
  term: number
  active_url: string | undefined
}

const retryAfter = { minMs: 20, spreadMs: 130 }

export const problemMedia = 'application/problem+json'

/** An error as problem+json (RFC 9457), and the headers that go with it. */
export function toProblem(error: AppError, requestId: string, whereabouts: Whereabouts) {
  const { status, retryable } = errorTable[error.code]
  const headers: Record<string, string> = { 'Cache-Control': 'no-store', 'X-Request-Id': requestId }
  const problem: Problem = {
    type: `urn:understudy:error:${error.code}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    code: error.code,
    detail: error.message,
    retryable,
    request_id: requestId,
  }
  if (error.faults.length > 0) problem.errors = error.faults
  if (error.facts) problem.facts = error.facts
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer'
  if (status === 503) {
    problem.role = whereabouts.role
    problem.term = whereabouts.term
    if (whereabouts.active_url !== undefined) problem.active_url = whereabouts.active_url
  }
  const waitMs = status === 503 ? shortWaitMs() : error.retryAfterMs
  if (waitMs !== undefined) {
    problem.retry_after_ms = waitMs
    headers['Retry-After'] = String(Math.ceil(waitMs / 1_000))
  }
  return { problem, headers }
}

function shortWaitMs(): number {
  return Math.round(retryAfter.minMs + Math.random() * retryAfter.spreadMs)
}

export function sendProblem(
  reply: FastifyReply,
  error: AppError,
  whereabouts: Whereabouts,
): FastifyReply {
  const { problem, headers } = toProblem(error, reply.request.id, whereabouts)
  return reply
    .code(problem.status)
    .headers(headers)
    .type(problemMedia)
    .serializer((value: unknown) => JSON.stringify(value))
    .send(problem)
}

/** Fastify's own refusals, by its error codes. */
const frameworkCodes: Record<string, [ErrorCode, string]> = {
  FST_ERR_BAD_URL: ['invalid_request', 'the URL is not well-formed'],
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'there is nothing with so long a name'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload_too_large', 'the body is larger than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'send application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'Content-Length does not fit the body'],
}

/** SQLSTATE classes of values that Postgres cannot hold. The schemas refuse them first; one that slips
 *  through is the sender's to change all the same, and would fail again however often it is sent. */
const valueFault = /^(22|54)/

/** Names any error that a route can throw. What has no name is internal. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  const { code, statusCode } = error as Partial<FastifyError>
  const known = code === undefined ? undefined : frameworkCodes[code]
  if (known) return new AppError(...known)
  if (code !== undefined && valueFault.test(code)) {
    // Not in its words: those may quote the value.
    return new AppError('invalid_request', `a value that the database cannot hold (${code})`, {
      cause: error,
    })
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new AppError('invalid_request', (error as Error).message)
  }
  return new AppError('internal', 'this should not have happened; the log has more', {
    cause: error,
  })
}

/** One fault per faulty field; a strict object's complaint names each unknown field by its path. */
export function invalidRequest(error: z.ZodError): AppError {
  const faults = error.issues.flatMap((issue): Fault[] => {
    const path = issue.path.map(String)
    if (issue.code !== 'unrecognized_keys') {
      return [{ path: path.join('.'), message: issue.message }]
    }
    return issue.keys.map((key) => ({ path: [...path, key].join('.'), message: 'unknown field' }))
  })
  const [first] = faults
  const detail = first ? `${first.path || 'body'}: ${first.message}` : 'the request is not valid'
  return new AppError('invalid_request', detail, { faults })
}
