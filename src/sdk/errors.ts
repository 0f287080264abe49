/** Errors that the SDK gives to its user. Switch on `code`. */

/** A replica refused a request: `code` is that of the problem, or `http_<status>` without one. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  /** The faulty fields of the request, if that is what was wrong. */
  readonly faults: { path: string; message: string }[]

  constructor(status: number, problem: ProblemBody | undefined) {
    super(problem?.detail ?? `HTTP ${status}`)
    this.name = 'ApiError'
    this.status = status
    this.code = problem?.code ?? `http_${status}`
    this.faults = problem?.errors ?? []
  }
}

/** The parts of a problem that the client looks at. A balancer's own answer may have none of them. */
export interface ProblemBody {
  code?: string
  detail?: string
  errors?: { path: string; message: string }[]
  active_url?: string
  retry_after_ms?: number
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
    this.code = code
    this.retryable = options.retryable ?? true
  }
}

/** Thrown by a job handler: give the job back; nothing is spent. */
export class JobRelease extends Error {
  constructor(message = 'released by its executor') {
    super(message)
    this.name = 'JobRelease'
  }
}
