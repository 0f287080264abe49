import { Agent, request } from 'undici'
import { fullJitter } from '../backoff.ts'
import { type Clock, systemClock } from '../clock.ts'
import { ApiError, type ProblemBody, toProblem, UnavailableError } from './errors.ts'
import { textOf } from './json.ts'
import type { ReplicaList, Stay } from './replica-list.ts'
import { Turns } from './turns.ts'

export interface Call {
  method: 'GET' | 'POST' | 'DELETE'
  path: string
  body?: unknown
  headers?: Record<string, string>
  /** Longest that one try may take, milliseconds, besides what its body takes on a slow line. */
  timeoutMs: number
  /** How long to go on trying; 0: each replica once. */
  patienceMs: number
  /** May it be sent again when nobody knows whether it was carried out? */
  isRepeatable: boolean
  /** A long poll: it is given up when another request finds that its replica is gone. */
  isParked?: boolean
  /** It waits while as many such calls as may are under way, and replicas serve those. Its signal does not end that. */
  takesTurn?: boolean
  signal?: AbortSignal | undefined
}

/** Makes a call; what is left out is as its client has it. */
export type CallReplica = <T>(call: Partial<Call> & { path: string }) => Promise<T>

/** How one try ended. */
type Outcome = { type: 'answer'; status: number; body: Body | undefined } | Unserved

type Body = Record<string, unknown>

interface Unserved {
  type: 'unserved'
  why: string
  /** No answer came, of anybody. */
  isGone: boolean
  /** Nor a refusal, in the time that it had. */
  isSilent: boolean
  /** Nobody knows whether the request was carried out. */
  mayBeDone: boolean
  problem?: ProblemBody
  retryAfterMs?: number | undefined
}

const backoff = { baseMs: 200, factor: 2, capMs: 5_000 }
const unsentCodes = new Set([
  'ECONNREFUSED',
  'UND_ERR_CONNECT_TIMEOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
])

/** Characters a millisecond, about a quarter of a megabit a second: a large result must get through from
 *  an edge machine, too. */
const slowestLine = 32

/** How many calls that take turns are under way at once. Whatever waited for the end of an outage would else be sent in
 *  one moment, take longer than each try may, and so be sent again, for nothing: a fleet of executors is not heard then. */
const mostAtOnce = 64

/** Refusals that are about the moment: the request came too slowly, or its address guessed too often. */
const passing = new Set([408, 429])

/** A replica's hint is heeded within these: neither a hot loop nor an hour of silence. */
const hint = { leastMs: 20, mostMs: 5_000 }

/**
 * HTTP to whichever replica serves. When there is no answer, or none of a replica that serves (a 5xx, a
 * 408 or 429, or something that a proxy wrote), it goes on to the next URL, the first time at once; when all
 * were tried it waits as long as a replica said, else with full jitter up to 5 s. One transport is one
 * set of connections, so a long poll never holds up a heartbeat.
 */
export class Transport {
  readonly #replicas: ReplicaList
  readonly #token: string
  readonly #clock: Clock
  readonly #closed = new AbortController()
  readonly #turns: Turns
  readonly #agent = new Agent({
    connect: { timeout: 1_000 },
    headersTimeout: 0,
    bodyTimeout: 0,
    pipelining: 1,
  })

  constructor(replicas: ReplicaList, token: string, clock: Clock = systemClock) {
    this.#replicas = replicas
    this.#token = token.trim()
    if (!/^[\x21-\x7e]+$/.test(this.#token)) {
      throw new TypeError('the token must be printable ASCII characters without blanks')
    }
    this.#clock = clock
    this.#turns = new Turns(mostAtOnce, clock)
  }

  /** What still runs, or is called afterwards, rejects. */
  close(): Promise<void> {
    this.#closed.abort(new UnavailableError('the connection is closed'))
    return this.#agent.destroy()
  }

  /** The parsed answer. Throws ApiError if a replica refuses the request, and UnavailableError. */
  async call<T>(call: Call): Promise<T> {
    const body = call.body === undefined ? null : JSON.stringify(call.body)
    let until = this.#clock.monotonic() + call.patienceMs
    let failure: UnavailableError | undefined
    for (let retry = 0; ; ) {
      until += await this.#takeTurn(call, failure)
      const { stay, outcome, hintMs } = await this.#round(call, body)
      if (outcome.type === 'answer') return accepted<T>(outcome)
      call.signal?.throwIfAborted()
      this.#closed.signal.throwIfAborted()
      failure = unavailable(stay, outcome)
      if (outcome.mayBeDone && !call.isRepeatable) throw failure
      const pauseMs = hintMs ?? fullJitter(retry++, backoff)
      if (this.#clock.monotonic() + pauseMs > until) throw failure
      await this.#clock.sleep(pauseMs, call.signal, this.#closed.signal)
    }
  }

  /** Returns for how long it waited while others were served, milliseconds: that is nothing to lose patience for. */
  async #takeTurn(call: Call, failure: UnavailableError | undefined): Promise<number> {
    const { takesTurn, patienceMs, timeoutMs } = call
    if (!takesTurn) return 0
    const since = this.#clock.monotonic()
    const mostMs = patienceMs + timeoutMs
    if (await this.#turns.take(mostMs)) {
      return this.#turns.wasServedSince(since) ? this.#clock.monotonic() - since : 0
    }
    const why = `no replica served any request before this one for ${mostMs} ms`
    throw failure ?? new UnavailableError(why)
  }

  /** A turn is for one round: who pauses leaves it to others. */
  async #round(call: Call, body: string | null) {
    let isServed = false
    try {
      const round = await this.#askAround(call, body)
      isServed = round.outcome.type === 'answer'
      return round
    } finally {
      if (call.takesTurn) this.#turns.end(isServed)
    }
  }

  /** Asks one replica after the other, as many as there are, until one answers or none is better than the last. */
  async #askAround(call: Call, body: string | null) {
    let hintMs: number | undefined
    for (let left = this.#replicas.length; ; left -= 1) {
      const stay = this.#replicas.current
      const outcome = await this.#try(stay, call, body)
      if (outcome.type === 'answer') return { stay, outcome }
      hintMs = outcome.retryAfterMs ?? hintMs
      const isOver = call.signal?.aborted || this.#closed.signal.aborted
      if (isOver || (outcome.mayBeDone && !call.isRepeatable)) return { stay, outcome, hintMs }
      if (!this.#moveOn(stay, outcome) || left === 1) return { stay, outcome, hintMs }
    }
  }

  /** A replica that recovers is about to serve: stay with it. */
  #moveOn(stay: Stay, { problem, isGone, isSilent }: Unserved): boolean {
    if (problem?.code === 'controller_recovering') return false
    return this.#replicas.leave(stay, { isGone, isSilent, activeUrl: problem?.activeUrl })
  }

  async #try(stay: Stay, call: Call, body: string | null): Promise<Outcome> {
    const timeoutMs = call.timeoutMs + Math.ceil((body?.length ?? 0) / slowestLine)
    const timeout = AbortSignal.timeout(timeoutMs)
    const signals = [timeout]
    if (call.signal) signals.push(call.signal)
    if (call.isParked) signals.push(stay.over)
    try {
      const answer = await request(`${stay.url}${call.path}`, {
        dispatcher: this.#agent,
        method: call.method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body === null ? {} : { 'content-type': 'application/json' }),
          ...call.headers,
        },
        body,
        signal: AbortSignal.any(signals),
      })
      const parsed = parse(await answer.body.text())
      return outcomeOf(answer.statusCode, parsed, answer.headers['retry-after'])
    } catch (error) {
      const why = timeout.aborted ? `no answer within ${timeoutMs} ms` : textOf(error)
      const code = (error as { code?: string } | undefined)?.code
      const mayBeDone = code === undefined || !unsentCodes.has(code)
      const isSilent = timeout.aborted || code === 'UND_ERR_CONNECT_TIMEOUT'
      return { type: 'unserved', why: why || code || 'failed', isGone: true, isSilent, mayBeDone }
    }
  }
}

/** An answer is that of a replica: what was asked for, or a refusal with a code. Only a 413 counts
 *  without one, since it is about the request, whoever finds it too large. */
function outcomeOf(
  status: number,
  body: Body | undefined,
  retryAfter: string | string[] | undefined,
): Outcome {
  const problem = toProblem(body)
  const isRefusal =
    status >= 400 && status < 500 && !passing.has(status) && problem.code !== undefined
  const isServed = status >= 200 && status < 300 && body !== undefined
  if (isServed || isRefusal || status === 413) return { type: 'answer', status, body }
  return {
    type: 'unserved',
    why: problem.detail ?? `answered ${status}${problem.code ? '' : ', and not as a replica does'}`,
    isGone: false,
    isSilent: false,
    mayBeDone: mayBeDone(status, problem),
    problem,
    retryAfterMs: withinHint(body?.retry_after_ms) ?? withinHint(seconds(retryAfter)),
  }
}

/** A replica says 503 before it does anything; only where its database went away may that have committed
 *  the request first. */
function mayBeDone(status: number, { code }: ProblemBody): boolean {
  if (status === 503) return code === undefined || code === 'database_unavailable'
  return status < 300 || status >= 500
}

function accepted<T>({ status, body }: { status: number; body: Body | undefined }): T {
  if (status >= 200 && status < 300) return body as T
  throw new ApiError(status, toProblem(body))
}

function unavailable({ url }: Stay, { why }: Unserved): UnavailableError {
  return new UnavailableError(`no replica served the request; the last, ${url}: ${why}`)
}

/** Every answer of a replica is an object. A balancer's own have another body, or none. */
function parse(text: string): Body | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Body) : undefined
  } catch {
    return undefined
  }
}

function seconds(header: string | string[] | undefined): number {
  return Number(Array.isArray(header) ? header[0] : header) * 1_000
}

function withinHint(ms: unknown): number | undefined {
  if (typeof ms !== 'number' || !Number.isFinite(ms)) return undefined
  return Math.min(Math.max(ms, hint.leastMs), hint.mostMs)
}
