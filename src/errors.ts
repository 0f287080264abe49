/** Every failure that a caller can meet: code → HTTP status, whether the same request may succeed
 *  later, and how loudly it is logged. Statuses live here and nowhere else. What anybody can bring about as often
 *  as they like is debug: a flood of it is news once, and told by who sees it first. */
export const errorTable = {
  invalid_request: { status: 400, retryable: false, level: 'debug' },
  malformed_json: { status: 400, retryable: false, level: 'debug' },
  unauthenticated: { status: 401, retryable: false, level: 'debug' },
  forbidden: { status: 403, retryable: false, level: 'debug' },
  not_found: { status: 404, retryable: false, level: 'debug' },
  request_timeout: { status: 408, retryable: true, level: 'debug' },
  idempotency_mismatch: { status: 409, retryable: false, level: 'debug' },
  stale_term: { status: 409, retryable: false, level: 'debug' },
  stale_epoch: { status: 409, retryable: false, level: 'debug' },
  stale_fence: { status: 409, retryable: false, level: 'debug' },
  already_final: { status: 409, retryable: false, level: 'debug' },
  cancel_requested: { status: 409, retryable: false, level: 'debug' },
  effect_in_progress: { status: 409, retryable: false, level: 'debug' },
  job_not_final: { status: 409, retryable: false, level: 'debug' },
  not_retryable: { status: 409, retryable: false, level: 'debug' },
  job_retried: { status: 409, retryable: false, level: 'debug' },
  effect_settled: { status: 409, retryable: false, level: 'debug' },
  lock_held: { status: 409, retryable: true, level: 'debug' },
  effect_in_doubt: { status: 409, retryable: false, level: 'debug' },
  job_final: { status: 409, retryable: false, level: 'debug' },
  job_leased: { status: 409, retryable: false, level: 'debug' },
  stage_mismatch: { status: 409, retryable: false, level: 'debug' },
  transition_owned: { status: 409, retryable: false, level: 'debug' },
  stale_token: { status: 409, retryable: false, level: 'debug' },
  payload_too_large: { status: 413, retryable: false, level: 'debug' },
  unsupported_media_type: { status: 415, retryable: false, level: 'debug' },
  too_many_failures: { status: 429, retryable: true, level: 'debug' },
  headers_too_large: { status: 431, retryable: false, level: 'debug' },
  internal: { status: 500, retryable: true, level: 'error' },
  controller_standby: { status: 503, retryable: true, level: 'debug' },
  controller_recovering: { status: 503, retryable: true, level: 'debug' },
  controller_draining: { status: 503, retryable: true, level: 'debug' },
  database_unavailable: { status: 503, retryable: true, level: 'warn' },
  schema_behind: { status: 503, retryable: true, level: 'debug' },
  schema_ahead: { status: 503, retryable: true, level: 'debug' },
  overloaded: { status: 503, retryable: true, level: 'debug' },
} as const satisfies Record<
  string,
  { status: number; retryable: boolean; level: 'debug' | 'warn' | 'error' }
>

export type ErrorCode = keyof typeof errorTable

/** One fault in a request: where it stands, and what is wrong with it. */
export interface Fault {
  path: string
  message: string
}

export class AppError extends Error {
  readonly code: ErrorCode
  readonly faults: Fault[]
  /** How it is instead of as the request has it, for programs. */
  readonly facts: Record<string, unknown> | undefined
  readonly retryAfterMs: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      faults?: Fault[]
      facts?: Record<string, unknown>
      cause?: unknown
      retryAfterMs?: number
    } = {},
  ) {
    super(message, { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.faults = options.faults ?? []
    this.facts = options.facts
    this.retryAfterMs = options.retryAfterMs
  }
}

/** A request with one faulty field. */
export function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', `${path}: ${message}`, { faults: [{ path, message }] })
}

/** A request with JSON in one field that is larger than the field takes. */
export function tooLarge(path: string, maxBytes: number): AppError {
  const message = `at most ${maxBytes} bytes of JSON`
  return new AppError('payload_too_large', `${path}: ${message}`, { faults: [{ path, message }] })
}

/** Whoever asks next would be told the same. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof AppError && error.code === 'database_unavailable'
}
