import { randomUUID } from 'node:crypto'
import type { Answer, Api } from './api.ts'
import type { TestDatabase } from './database.ts'

/** One process that wants or has a lock of its own name. */
export class Claimant {
  readonly #api: Api
  readonly name: string
  readonly owner: string
  readonly boot_id: string

  constructor(
    api: Api,
    name: string,
    owner: string = randomUUID(),
    boot_id: string = randomUUID(),
  ) {
    this.#api = api
    this.name = name
    this.owner = owner
    this.boot_id = boot_id
  }

  acquire(more: Record<string, unknown> = {}, signal?: AbortSignal): Promise<Answer> {
    const { owner, boot_id } = this
    const init = signal ? { signal } : {}
    return this.#api.post(`${this.path}/acquire`, { owner, boot_id, ttl_ms: 60_000, ...more }, init)
  }

  /** Acquires it, and returns the fence. */
  async take(more: Record<string, unknown> = {}): Promise<number> {
    return (await this.#api.must(200, this.acquire(more))).body.fence
  }

  renew(fence: number): Promise<Answer> {
    return this.#prove('renew', fence)
  }

  release(fence: number): Promise<Answer> {
    return this.#prove('release', fence)
  }

  get path(): string {
    return `/v1/locks/${this.name}`
  }

  #prove(verb: string, fence: number): Promise<Answer> {
    const { owner, boot_id } = this
    return this.#api.post(`${this.path}/${verb}`, { owner, boot_id, fence })
  }
}

export function lockName(): string {
  return `l-${randomUUID().slice(0, 8)}`
}

/** As if so long had passed since it was renewed, or released. */
export async function age(db: TestDatabase, name: string, passed: string): Promise<void> {
  await db.sql(
    `UPDATE locks SET renewed_at = renewed_at - $2::interval, expires_at = expires_at - $2::interval,
      ends_at = ends_at - $2::interval, released_at = released_at - $2::interval WHERE name = $1`,
    [name, passed],
  )
}
