import { Pool } from 'undici'

/** Who is called, and by whom. */
export interface Callee {
  url: string
  token: string
}

/** Calls a replica, with as many connections as executors would have, and no more work than that: what it costs to
 *  put the load on is taken from those who bear it. */
export class Caller {
  readonly #pool: Pool
  readonly #headers: Record<string, string>

  constructor({ url, token }: Callee, connections: number) {
    this.#pool = new Pool(url, { connections, headersTimeout: 60_000, bodyTimeout: 60_000 })
    this.#headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  }

  /** Throws unless the answer is a 2xx. */
  async post<Answer>(path: string, body: unknown): Promise<Answer> {
    const { statusCode, body: answer } = await this.#pool.request({
      method: 'POST',
      path,
      headers: this.#headers,
      body: JSON.stringify(body),
    })
    if (statusCode >= 300) throw new Error(`${path}: ${statusCode} ${await answer.text()}`)
    return (await answer.json()) as Answer
  }

  close(): Promise<void> {
    return this.#pool.destroy()
  }
}
