import type { Clock } from '../clock.ts'
import { limits } from '../contract/common.ts'
import type {
  Lock,
  LockAcquire,
  LockForceRelease,
  LockHolder,
  LockHolding,
  LockList,
  LockListQuery,
  LockReleased,
} from '../contract/locks.ts'
import { lockTiming } from '../domain/lock.ts'
import { AppError, invalid, isUnavailable } from '../errors.ts'
import type { Doors } from '../sql/doors.ts'
import {
  acquireLockIfFree,
  type Deadlines,
  findLock,
  forceReleaseIfHeld,
  isJobOver,
  keepFromPruning,
  type LockRow,
  listLocks,
  type NewHolding,
  releaseLockIfLatest,
  renewLockIfHeld,
  wasTakenOver,
} from '../sql/locks.ts'
import type { Queryable } from '../sql/pool.ts'
import { type Actor, audit } from './audit.ts'
import { isJobId, toBoundedJson } from './json.ts'
import { Lanes } from './lane.ts'
import type { LockWaits } from './lock-waits.ts'

export interface LocksOptions {
  clientDb: Queryable
  doors: Doors
  clock: Clock
  lockWaits: LockWaits
  /** Longest that a request may wait for a lock. */
  pollWaitCapMs: number
  /** Tells the other replicas that somebody may have it now. */
  onFreed(name: string): void
}

/** With which token somebody acquires. */
export type Bearer = Pick<Actor, 'tokenId' | 'role'>

const validCapMs = lockTiming(Number.MAX_SAFE_INTEGER).valid_ms

/** Named locks for outside actors, with fences of their own. Any replica serves these; no leader is needed, and no
 *  transaction is open while anybody waits. */
export class Locks {
  readonly #o: LocksOptions
  /** Who asks for one name asks in turn: they would wait for its row, each with a session of the pool. */
  readonly #lanes = new Lanes(isUnavailable)

  constructor(options: LocksOptions) {
    this.#o = options
  }

  /** Waits for it as long as the body says, and not beyond a hang-up: what was given by then to nobody goes stale.
   *  Throws lock_held, stale_fence for a process that a new one of its owner came after, and invalid_request for a job that is over. */
  async acquire(
    bearer: Bearer,
    name: string,
    body: LockAcquire,
    gone: AbortSignal,
  ): Promise<LockHolding> {
    const { clock, lockWaits, pollWaitCapMs } = this.#o
    const wanted = toHolding(bearer, name, body)
    const until = clock.monotonic() + Math.min(body.wait_ms ?? 0, pollWaitCapMs)
    for (;;) {
      // Before the try, so that no release falls between the two.
      const waiting = lockWaits.add(name, Math.max(0, until - clock.monotonic()), gone)
      try {
        const got = await this.#lanes.run(name, () => this.#try(wanted, gone))
        if (!(got instanceof AppError)) return { ...got, ...lockTiming(body.ttl_ms) }
        if (clock.monotonic() >= until || !(await waiting.answer)) throw got
      } finally {
        waiting.settle(undefined)
      }
    }
  }

  /** Throws stale_fence where the lock is not, or no longer, this caller's. */
  async renew(name: string, holder: LockHolder): Promise<LockHolding> {
    const renewed = await this.#o.doors.asClient((tx) =>
      renewLockIfHeld(tx, name, holder, validCapMs),
    )
    if (!renewed) throw notHeld(name, holder)
    const { ttl_ms, ...deadlines } = renewed
    return { ...deadlines, ...lockTiming(ttl_ms) }
  }

  /** The same again is answered as the first, as long as nobody else has had it since. Throws stale_fence. */
  async release(name: string, holder: LockHolder): Promise<LockReleased> {
    const released = await this.#o.doors.asClient((tx) => releaseLockIfLatest(tx, name, holder))
    if (!released) throw notHeld(name, holder)
    this.#freed(name)
    return { name, fence: holder.fence, released_at: released.released_at }
  }

  /** Takes it from whoever has it. A lock that nobody has is answered as it is. Throws not_found, and stale_fence
   *  where it is to be taken from somebody who has it no longer. */
  async forceRelease(actor: Actor, name: string, { note, fence }: LockForceRelease): Promise<Lock> {
    const lock = await this.#o.doors.asClient(async (tx) => {
      const taken = await forceReleaseIfHeld(tx, name, fence ?? null)
      if (!taken) return await findLock(tx, name)
      const { owner, job_id, acquired_at } = taken
      const facts = { owner, fence: taken.fence, job_id, acquired_at }
      await audit(tx, actor, { action: 'lock.force_release', subject: name, reason: note, facts })
      return taken
    })
    if (!lock) throw noLock(name)
    if (fence !== undefined && lock.fence !== fence) {
      throw new AppError('stale_fence', `${name} has fence ${lock.fence} now, not ${fence}`)
    }
    this.#freed(name)
    return lock
  }

  async get(name: string): Promise<Lock> {
    const lock = await findLock(this.#o.clientDb, name)
    if (!lock) throw noLock(name)
    return lock
  }

  async list({ state, cursor, limit }: LockListQuery): Promise<LockList> {
    const locks = await listLocks(this.#o.clientDb, { state, after: cursor ?? '', limit })
    return { locks, next_cursor: locks.length === limit ? (locks.at(-1)?.name ?? null) : null }
  }

  async #try(wanted: NewHolding, gone: AbortSignal): Promise<Deadlines | AppError> {
    const { name, job_id } = wanted
    if (gone.aborted) throw new AppError('lock_held', 'its client has hung up')
    return await this.#o.doors.asClient(async (tx) => {
      await keepFromPruning(tx)
      const got = await acquireLockIfFree(tx, wanted)
      if (got) return got
      if (job_id !== null && (await isJobOver(tx, job_id))) throw jobIsOver(job_id)
      const lock = await findLock(tx, name)
      if (lock?.state !== 'held' && (await wasTakenOver(tx, name, wanted))) throw takenOver(wanted)
      return heldBy(name, lock)
    })
  }

  #freed(name: string): void {
    this.#o.lockWaits.freed(name)
    this.#o.onFreed(name)
  }
}

function toHolding({ tokenId, role }: Bearer, name: string, body: LockAcquire): NewHolding {
  const { owner, boot_id, job_id, ttl_ms, metadata = {} } = body
  if (job_id !== undefined && !isJobId(job_id)) throw jobIsOver(job_id)
  return {
    name,
    owner,
    boot_id,
    token_id: tokenId,
    is_admin: role === 'admin',
    job_id: job_id ?? null,
    metadata: toBoundedJson(metadata, 'metadata', limits.lockMetadataBytes),
    ttl_ms,
    valid_ms: lockTiming(ttl_ms).valid_ms,
  }
}

function jobIsOver(jobId: string): AppError {
  return invalid('job_id', `job ${jobId} has ended, or there is none`)
}

/** Not by which process: a boot_id is what a holder is known by. */
function heldBy(name: string, lock: LockRow | undefined): AppError {
  const holder = lock
    ? `${lock.owner} has it with fence ${lock.fence} until ${lock.expires_at}`
    : 'somebody had it just now'
  return new AppError('lock_held', `${name}: ${holder}, unless it is renewed`)
}

/** No wait helps: it is to start anew, with another boot_id. */
function takenOver({ name, owner }: NewHolding): AppError {
  return new AppError('stale_fence', `a newer process of ${owner} has had ${name} since this one`)
}

function notHeld(name: string, { owner, fence }: LockHolder): AppError {
  return new AppError('stale_fence', `${owner} does not hold ${name} with fence ${fence}`)
}

function noLock(name: string): AppError {
  return new AppError('not_found', `there is no lock ${name}`)
}
