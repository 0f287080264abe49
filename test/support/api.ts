import { setTimeout as sleep } from 'node:timers/promises'
import type { Assignment } from '../../src/contract/executors.ts'
import type { Job } from '../../src/contract/jobs.ts'

export interface Answer {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  body: any
}

/** HTTP as any client would speak it, one request a call, nothing repeated. */
export class Api {
  readonly url: string
  readonly token: string | undefined

  constructor(url: string, token: string | undefined) {
    this.url = url
    this.token = token
  }

  as(token: string | undefined): Api {
    return new Api(this.url, token)
  }

  async request(
    method: string,
    path: string,
    body?: unknown,
    init: { headers?: Record<string, string>; signal?: AbortSignal; raw?: string } = {},
  ): Promise<Answer> {
    const text = init.raw ?? (body === undefined ? undefined : JSON.stringify(body))
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        ...init.headers,
      },
      body: text ?? null,
      signal: init.signal ?? null,
    })
    const answer = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    return {
      status: response.status,
      headers: response.headers,
      body: answer === '' ? undefined : isJson ? JSON.parse(answer) : answer,
    }
  }

  get(path: string): Promise<Answer> {
    return this.request('GET', path)
  }

  post(path: string, body: unknown, init: Parameters<Api['request']>[3] = {}): Promise<Answer> {
    return this.request('POST', path, body, init)
  }

  /** The answer, which must have this status. */
  async must(status: number, answer: Promise<Answer>): Promise<Answer> {
    const got = await answer
    if (got.status !== status) {
      throw new Error(`expected ${status}, got ${got.status}: ${JSON.stringify(got.body)}`)
    }
    return got
  }

  async submit(job: Record<string, unknown> = {}): Promise<Job> {
    return (await this.must(201, this.post('/v1/jobs', { kind: 'test', ...job }))).body.job
  }

  async job(id: string): Promise<Job> {
    return (await this.must(200, this.get(`/v1/jobs/${id}`))).body.job
  }

  /** Registers, and returns the epoch. */
  async register(executorId: string, more: Record<string, unknown> = {}): Promise<number> {
    const body = { executor_id: executorId, ...more }
    return (await this.must(201, this.post('/v1/executors/register', body))).body.epoch
  }

  async poll(executorId: string, epoch: number, more: Record<string, unknown> = {}) {
    const answer = this.post(`/v1/executors/${executorId}/poll`, { epoch, wait_ms: 0, ...more })
    return (await this.must(200, answer)).body.assignments as Assignment[]
  }

  async heartbeat(executorId: string, epoch: number, assignments: unknown[] = []) {
    const answer = this.post(`/v1/executors/${executorId}/heartbeat`, { epoch, assignments })
    return (await this.must(200, answer)).body
  }

  async report(executorId: string, epoch: number, ...reports: unknown[]) {
    const answer = this.post(`/v1/executors/${executorId}/report`, { epoch, reports })
    return (await this.must(200, answer)).body.results
  }

  async untilReady(): Promise<void> {
    while ((await this.get('/health/ready')).status !== 200) await sleep(10)
  }

  /** Asks the probe, as a balancer does, until this replica is the active one and serves. */
  async untilActive(): Promise<void> {
    for (;;) {
      const { status, body } = await this.get('/health/active').catch(() => ({
        status: 0,
        body: undefined,
      }))
      if (status === 200 && body.controller_state === 'active') return
      await sleep(20)
    }
  }
}

/** The part of a token that nobody may see; base64url, so that it may hold what stands between the parts, too. */
export function secretOf(token: string): string {
  return token.split('_').slice(2).join('_')
}
