import { toText } from './json.ts'

/** Errors that the SDK gives to its user. Switch on `code`. */

/** A replica refused a request: `code` is that of the problem, or `http_<status>` without one. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  /** The faulty fields of the request, if that is what was wrong. */
  readonly faults: { path: string; message: string }[]

  constructor(status: number, problem: ProblemBody) {
    super(problem.detail ?? `HTTP ${status}`)
    this.name = 'ApiError'
    this.status = status
    this.code = problem.code ?? `http_${status}`
    this.faults = problem.errors
  }
}

/** Was a request refused for what it says, and not for who says it? */
export function isContentRefused(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 400 || error.status === 413)
}

/** The parts of a problem that the client looks at. */
export interface ProblemBody {
  code: string | undefined
  detail: string | undefined
  errors: { path: string; message: string }[]
  activeUrl: string | undefined
}

/** A balancer's own answer may have none of them, or something else under their names. */
export function toProblem(body: Record<string, unknown> = {}): ProblemBody {
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
  return {
    code: text(body.code),
    detail: text(body.detail),
    errors: Array.isArray(body.errors) ? body.errors : [],
    activeUrl: text(body.active_url),
  }
}

/** No replica could be reached, or none would serve the request, for as long as the client was told to
 *  try. The request may have been carried out all the same. */
export class UnavailableError extends Error {
  readonly code = 'unavailable'

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'UnavailableError'
  }
}

/** Thrown by a job handler: how the attempt failed. `retryable: false` ends the job. */
export class JobFailure extends Error {
  readonly code: string
  readonly retryable: boolean

  constructor(code: string, message: string, options: { retryable?: boolean } = {}) {
    super(message)
    this.name = 'JobFailure'
    // A longer one would have the whole report refused.
    this.code = toText(code, 128)
    this.retryable = options.retryable ?? true
  }
}

/** Thrown by the code of an effect: it was certainly not done, and may be begun again. Anything else that it throws
 *  leaves that open. */
export class EffectNotDone extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EffectNotDone'
  }
}

/** An attempt that was lost may have done it: the job waits for an operator, and is no longer this executor's. */
export class EffectInDoubt extends Error {
  readonly key: string

  constructor(key: string) {
    super(`effect ${key} may have been done; the job waits until that is resolved`)
    this.name = 'EffectInDoubt'
    this.key = key
  }
}

/** Thrown by a job handler: give the job back; nothing is spent. */
export class JobRelease extends Error {
  constructor(message = 'released by its executor') {
    super(message)
    this.name = 'JobRelease'
  }
}
