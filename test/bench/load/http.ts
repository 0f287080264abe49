import { Pool } from 'undici'
import type { Role, TokenCreated } from '../../../src/contract/tokens.ts'

/** Who is called. */
export interface Callee {
  url: string
  /** An administrator's, to make others with. */
  token: string
}

/** Calls a replica, with as many connections as executors would have, a token as they would have, and no more work than
 *  that: what it costs to put the load on is taken from those who bear it. */
export class Caller {
  readonly #pool: Pool
  readonly #callee: Callee
  readonly #role: Role
  #headers: Record<string, string> | undefined
  #entering: Promise<Record<string, string>> | undefined

  constructor(callee: Callee, role: Extract<Role, 'executor' | 'submit'>, connections: number) {
    this.#callee = callee
    this.#role = role
    this.#pool = new Pool(callee.url, {
      connections,
      headersTimeout: 60_000,
      bodyTimeout: 60_000,
    })
  }

  /** Throws unless the answer is a 2xx. */
  async post<Answer>(path: string, body: unknown): Promise<Answer> {
    this.#entering ??= this.#enter()
    this.#headers ??= await this.#entering
    return await this.#post(path, body, this.#headers)
  }

  close(): Promise<void> {
    return this.#pool.destroy()
  }

  async #enter() {
    const wanted = { name: 'bench', role: this.#role }
    const made = await this.#post<TokenCreated>('/v1/tokens', wanted, headersOf(this.#callee.token))
    return headersOf(made.token)
  }

  async #post<Answer>(path: string, body: unknown, headers: Record<string, string>) {
    const { status, text } = await this.#send(path, JSON.stringify(body), headers)
    if (status >= 300) throw new Error(`${path}: ${status} ${text}`)
    return JSON.parse(text) as Answer
  }

  /** By the pool’s own events: a stream for each answer is a quarter of what a call costs. */
  #send(path: string, body: string, headers: Record<string, string>) {
    return new Promise<{ status: number; text: string }>((resolve, reject) => {
      const chunks: Buffer[] = []
      let status = 0
      this.#pool.dispatch(
        { method: 'POST', path, headers, body },
        {
          // by which the pool knows this kind of listener
          onRequestStart: () => undefined,
          onResponseStart(_controller, statusCode) {
            status = statusCode
          },
          onResponseData(_controller, chunk) {
            chunks.push(chunk)
          },
          onResponseEnd: () => resolve({ status, text: Buffer.concat(chunks).toString() }),
          onResponseError: (_controller, error) => reject(error),
        },
      )
    })
  }
}

function headersOf(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
}
