import type {
  Clear,
  Deregister,
  Deregistered,
  Drain,
  Executor,
  ExecutorHistory,
  ExecutorList,
  HistoryQuery,
} from '../contract/executors.ts'
import type { CallReplica } from './transport.ts'

/** Executors (docs/executors.md): reading for any reader, the rest for operators, and audited. */
export class Executors {
  readonly #call: CallReplica

  constructor(call: CallReplica) {
    this.#call = call
  }

  list(): Promise<ExecutorList> {
    return this.#call({ path: '/v1/executors' })
  }

  /** Throws ApiError not_found. */
  get(id: string): Promise<Executor> {
    return this.#call({ path: pathOf(id) })
  }

  /** How an executor was, newest first. */
  history(
    id: string,
    { cursor, limit = 50 }: Partial<HistoryQuery> = {},
  ): Promise<ExecutorHistory> {
    const query = new URLSearchParams({ limit: String(limit) })
    if (cursor !== undefined) query.set('cursor', String(cursor))
    return this.#call({ path: `${pathOf(id, 'history')}?${query}` })
  }

  /** No new work for an executor, whichever process it is, or `enabled: false`: work again. */
  drain(id: string, drain: Drain = {}): Promise<Executor> {
    return this.#call({ method: 'POST', path: pathOf(id, 'drain'), body: drain })
  }

  /** Takes a degraded or faulty executor for healthy. */
  clear(id: string, clear: Clear = {}): Promise<Executor> {
    return this.#call({ method: 'POST', path: pathOf(id, 'clear'), body: clear })
  }

  /** Cuts an executor off. Without an epoch it is not repeated after a broken answer: that might cut off the process
   *  that came next. */
  deregister(id: string, deregister: Deregister = {}): Promise<Deregistered> {
    return this.#call({
      method: 'POST',
      path: pathOf(id, 'deregister'),
      body: deregister,
      isRepeatable: deregister.epoch !== undefined,
    })
  }
}

function pathOf(id: string, what = ''): string {
  return `/v1/executors/${encodeURIComponent(id)}${what && `/${what}`}`
}
