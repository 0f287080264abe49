import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Role, Token, TokenCreate, TokenCreated } from '../contract/tokens.ts'
import { AppError, invalid } from '../errors.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'
import { insertToken, listTokens, revokeToken, type TokenRow } from '../sql/tokens.ts'
import { type Actor, audit } from './audit.ts'
import type { FailedLogins } from './failed-logins.ts'
import type { TokenCache } from './token-cache.ts'

/** Who makes a request, and what it is bound to. */
export interface Principal {
  tokenId: string
  role: Role
  /** Of role executor: an id, or a prefix that ends in `*`. null: any. */
  executorPattern: string | null
  /** null: any. */
  queues: string[] | null
}

export interface TokensOptions {
  db: Queryable
  doors: Doors
  cache: TokenCache
  failedLogins: FailedLogins
  adminToken: string | undefined
  onChange(): void
}

/** Stands for the token of the configuration, which lasts as long as the process. */
const bootstrap = 'bootstrap'

const tokenForm = /^ust_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}

/** Opaque bearer tokens: `ust_<id>_<secret>`, the secret 256 random bits of which only the SHA-256 is
 *  kept. Found by the id, which is no secret; the digests are compared in constant time. */
export class Tokens {
  readonly #o: TokensOptions
  readonly #admin: { hash: Buffer; hasForm: boolean } | undefined

  constructor(options: TokensOptions) {
    this.#o = options
    const { adminToken } = options
    this.#admin =
      adminToken === undefined
        ? undefined
        : {
            hash: sha256(adminToken),
            hasForm: tokenForm.test(adminToken),
          }
  }

  /** Undefined: not one of ours, revoked, or expired. Throws too_many_failures instead, where it or its address
   *  has failed too often. */
  async authenticate(presented: string, address: string): Promise<Principal | undefined> {
    const { cache, failedLogins } = this.#o
    const [, id = '', secret = ''] = tokenForm.exec(presented) ?? []
    if (this.#isAdmin(presented, id !== '')) {
      return { tokenId: bootstrap, role: 'admin', executorPattern: null, queues: null }
    }
    if (!cache.has(id)) await failedLogins.refuseIfSpent(sha256(presented).toString('base64'))
    const token = id === '' ? undefined : await cache.find(id)
    if (token && timingSafeEqual(sha256(secret), token.secret_hash)) {
      return {
        tokenId: id,
        role: token.role,
        executorPattern: token.executor_id,
        queues: token.queues,
      }
    }
    await failedLogins.note(address, sha256(presented).toString('base64'))
    return undefined
  }

  /** Whether it is the token of the configuration, which need not be of our form. */
  #isAdmin(presented: string, hasForm: boolean): boolean {
    const admin = this.#admin
    return admin?.hasForm === hasForm && timingSafeEqual(sha256(presented), admin.hash)
  }

  /** Runs what waits for long. When its token ends, it is as if the client had hung up: nothing is given
   *  to it any more. */
  async whileValid<T>(
    { tokenId }: Principal,
    gone: AbortController,
    wait: (gone: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (tokenId === bootstrap) return await wait(gone.signal)
    let hasEnded = false
    const release = this.#o.cache.watch(tokenId, () => {
      hasEnded = true
      gone.abort()
    })
    try {
      const answer = await wait(gone.signal)
      if (!hasEnded) return answer
    } finally {
      release()
    }
    throw new AppError('unauthenticated', 'the token has expired, or was revoked, meanwhile')
  }

  async create(actor: Actor, wanted: TokenCreate): Promise<TokenCreated> {
    if (wanted.executor_id !== undefined && wanted.role !== 'executor') {
      throw invalid('executor_id', 'is only for role executor')
    }
    if (wanted.queues !== undefined && !['executor', 'submit'].includes(wanted.role)) {
      throw invalid('queues', 'is only for roles executor and submit')
    }
    const id = randomBytes(8).toString('hex')
    const secret = randomBytes(32).toString('base64url')
    await this.#o.doors.asClient(async (tx) => {
      await insertToken(tx, {
        id,
        name: wanted.name,
        role: wanted.role,
        secret_hash: sha256(secret),
        executor_id: wanted.executor_id ?? null,
        queues: wanted.queues ?? null,
        expires_at: wanted.expires_at ?? null,
      })
      await audit(tx, actor, { action: 'token.create', subject: id, facts: { ...wanted } })
    })
    return { id, token: `ust_${id}_${secret}` }
  }

  async list(): Promise<Token[]> {
    return (await listTokens(this.#o.db)).map(toToken)
  }

  async revoke(actor: Actor, id: string): Promise<Token> {
    const row = await this.#o.doors.asClient(async (tx) => {
      const revoked = await revokeToken(tx, id)
      if (revoked) await audit(tx, actor, { action: 'token.revoke', subject: id })
      return revoked
    })
    if (!row) throw new AppError('not_found', `there is no token ${id}`)
    this.#o.cache.forget(id)
    this.#o.onChange()
    return toToken(row)
  }
}

function toToken({ secret_hash: _hash, ...token }: TokenRow): Token {
  return {
    id: token.id,
    name: token.name,
    role: token.role,
    executor_id: token.executor_id,
    queues: token.queues,
    created_at: token.created_at,
    expires_at: token.expires_at,
    revoked_at: token.revoked_at,
  }
}
