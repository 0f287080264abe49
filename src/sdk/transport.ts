import { Agent, request } from 'undici'
import { fullJitter } from '../backoff.ts'
import { type Clock, systemClock } from '../clock.ts'
import { ApiError, type ProblemBody, UnavailableError } from './errors.ts'
import type { ReplicaList } from './replica-list.ts'

export interface Call {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  body?: unknown
  headers?: Record<string, string>
  /** Longest that one try may take, milliseconds. */
  timeoutMs: number
  /** How long to go on trying; 0: each replica once. */
  patienceMs: number
  /** May it be sent again when nobody knows whether it was carried out? */
  isRepeatable: boolean
  /** A long poll: it is given up when another request finds that its replica is gone. */
  isParked?: boolean
  signal?: AbortSignal | undefined
}

/** How one try ended. `unsent`: nothing can have been done. */
type Outcome =
  | { type: 'answer'; status: number; body: unknown }
  | { type: 'refused'; problem: ProblemBody | undefined; retryAfterMs: number | undefined }
  | { type: 'unsent' | 'broken'; error: Error }

const backoff = { baseMs: 200, factor: 2, capMs: 5_000 }
const unsentCodes = new Set([
  'ECONNREFUSED',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
])

/**
 * HTTP to whichever replica serves. On a connection error or a 503 it goes on to the next URL, the
 * first time at once; when all were tried it waits as long as a replica said, else with full jitter up
 * to 5 s. One transport is one set of connections, so a long poll never holds up a heartbeat.
 */
export class Transport {
  readonly #replicas: ReplicaList
  readonly #token: string
  readonly #clock: Clock
  readonly #agent = new Agent({
    connect: { timeout: 1_000 },
    headersTimeout: 0,
    bodyTimeout: 0,
    pipelining: 1,
  })

  constructor(replicas: ReplicaList, token: string, clock: Clock = systemClock) {
    this.#replicas = replicas
    this.#token = token
    this.#clock = clock
  }

  close(): Promise<void> {
    return this.#agent.destroy()
  }

  /** The parsed answer. Throws ApiError on any other refusal than 503, and UnavailableError. */
  async call<T>(call: Call): Promise<T> {
    const until = this.#clock.monotonic() + call.patienceMs
    let round = 0
    let hintMs: number | undefined
    for (let tried = 1; ; tried += 1) {
      const url = this.#replicas.current
      const outcome = await this.#try(url, call)
      if (outcome.type === 'answer') return accepted<T>(outcome)
      call.signal?.throwIfAborted()
      if (outcome.type === 'broken' && !call.isRepeatable) throw unavailable(url, outcome)
      const isRecovering = this.#moveOn(url, outcome)
      if (outcome.type === 'refused') hintMs = outcome.retryAfterMs
      if (!isRecovering && tried % this.#replicas.length !== 0) continue
      const pauseMs = hintMs ?? fullJitter(round++, backoff)
      hintMs = undefined
      if (this.#clock.monotonic() + pauseMs > until) throw unavailable(url, outcome)
      await this.#clock.sleep(pauseMs, call.signal)
    }
  }

  /** A replica that recovers is about to serve: stay with it. */
  #moveOn(url: string, outcome: Exclude<Outcome, { type: 'answer' }>): boolean {
    const problem = outcome.type === 'refused' ? outcome.problem : undefined
    if (problem?.code === 'controller_recovering') return true
    this.#replicas.leave(url, problem?.active_url)
    return false
  }

  async #try(url: string, call: Call): Promise<Outcome> {
    const timeout = AbortSignal.timeout(call.timeoutMs)
    const signals = [timeout]
    if (call.signal) signals.push(call.signal)
    if (call.isParked) signals.push(this.#replicas.staying)
    try {
      const { statusCode, headers, body } = await request(`${url}${call.path}`, {
        dispatcher: this.#agent,
        method: call.method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...call.headers,
        },
        body: call.body === undefined ? null : JSON.stringify(call.body),
        signal: AbortSignal.any(signals),
      })
      const parsed = parse(await body.text())
      if (statusCode !== 503) return { type: 'answer', status: statusCode, body: parsed }
      const problem = parsed as ProblemBody | undefined
      return {
        type: 'refused',
        problem,
        retryAfterMs: problem?.retry_after_ms ?? seconds(headers['retry-after']),
      }
    } catch (cause) {
      const error = timeout.aborted
        ? new Error(`no answer within ${call.timeoutMs} ms`)
        : toError(cause)
      const { code } = error as { code?: string }
      return { type: code !== undefined && unsentCodes.has(code) ? 'unsent' : 'broken', error }
    }
  }
}

function accepted<T>({ status, body }: { status: number; body: unknown }): T {
  if (status >= 200 && status < 300) return body as T
  throw new ApiError(status, body as ProblemBody | undefined)
}

function unavailable(url: string, outcome: Exclude<Outcome, { type: 'answer' }>): UnavailableError {
  const why =
    outcome.type === 'refused'
      ? (outcome.problem?.detail ?? 'answered 503')
      : outcome.error.message || ((outcome.error as { code?: string }).code ?? 'failed')
  return new UnavailableError(`no replica served the request; the last, ${url}: ${why}`)
}

/** A balancer's own answers have another body, or none. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function seconds(header: string | string[] | undefined): number | undefined {
  const value = Number(Array.isArray(header) ? header[0] : header)
  return Number.isFinite(value) && value >= 0 ? value * 1_000 : undefined
}

function toError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause))
}
