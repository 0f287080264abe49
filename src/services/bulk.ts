import type { BulkAction, BulkAnswer, BulkFilter, BulkRequest } from '../contract/bulk.ts'
import type { JobState } from '../contract/jobs.ts'
import { invalid } from '../errors.ts'
import { type BulkMatch, countMatches, listMatches } from '../sql/bulk.ts'
import type { Doors } from '../sql/doors.ts'
import type { Queryable } from '../sql/pool.ts'
import { type Actor, audit } from './audit.ts'
import { labelsOf, type Reader } from './jobs.ts'

/** What an action does to many jobs. */
export interface BulkAct {
  /** The states that it takes, and those of a filter that names none. */
  states: readonly JobState[]
  statesByDefault: readonly JobState[]
  /** Jobs that were asked to be cancelled are done with. */
  skipsCancelled: boolean
  /** Locks the jobs in the order of their ids, judges each, and changes what it still may. `announce` is called
   *  after the commit. */
  act(
    tx: Queryable,
    ids: string[],
    reason: string | undefined,
  ): Promise<{ changed: number; announce(): void }>
}

export interface BulkOptions {
  db: Queryable
  doors: Doors
  acts: Record<BulkAction, BulkAct>
}

/** Of one call, and so of one transaction: far within its timeouts. */
const most = { jobs: 500, bytes: 16_000_000 }

/** Acts on many jobs by filter. A call is one transaction, its audit included: whatever becomes of its answer, what
 *  was done was done as a whole, matches no more, and is told. */
export class Bulk {
  readonly #o: BulkOptions

  constructor(options: BulkOptions) {
    this.#o = options
  }

  /** Throws invalid_request for a filter that matches everything without `confirm`, and for a state that the
   *  action does not take. */
  async run(actor: Actor, reader: Reader, request: BulkRequest): Promise<BulkAnswer> {
    const { db, doors, acts } = this.#o
    const { action, filter, dry_run, confirm, cursor, reason } = request
    const { act, ...states } = acts[action]
    const match = {
      ...toMatch(filter, reader, states),
      beforeId: cursor,
    }
    if (!dry_run && !confirm && isEmpty(filter)) {
      throw invalid('confirm', 'must be true for a filter that matches everything')
    }
    const matched = await countMatches(db, match)
    if (dry_run) return { dry_run, matched }
    const { ids, isCut } = await this.#page(match)
    const { changed, announce } = await doors.asClient(async (tx) => {
      const done = await act(tx, ids, reason)
      const facts = { filter, cursor, matched, changed: done.changed }
      await audit(tx, actor, { action: 'job.bulk', subject: action, reason, facts })
      return done
    })
    announce()
    return {
      dry_run,
      matched,
      changed,
      skipped: ids.length - changed,
      remaining: Math.max(0, matched - ids.length),
      next_cursor: isCut ? (ids.at(-1) ?? null) : null,
    }
  }

  /** At least one, if there is one. */
  async #page(match: BulkMatch): Promise<{ ids: string[]; isCut: boolean }> {
    const found = await listMatches(this.#o.db, match, most.jobs + 1)
    let bytes = 0
    const fits = found.findIndex((job, index) => {
      bytes += job.bytes
      return index === most.jobs || (index > 0 && bytes > most.bytes)
    })
    const page = fits < 0 ? found : found.slice(0, fits)
    return { ids: page.map(({ id }) => id), isCut: page.length < found.length }
  }
}

function isEmpty({ queue, state, kind, label = [] }: BulkFilter): boolean {
  return queue === undefined && state === undefined && kind === undefined && label.length === 0
}

function toMatch(
  { queue, state, kind, label }: BulkFilter,
  { queues }: Reader,
  { states, statesByDefault, skipsCancelled }: Omit<BulkAct, 'act'>,
): BulkMatch {
  if (state !== undefined && !states.includes(state)) {
    throw invalid('filter.state', `must be ${states.join(' or ')} for this action`)
  }
  return {
    states: state === undefined ? statesByDefault : [state],
    skipsCancelled,
    queue,
    readable: queues,
    kind,
    labels: labelsOf(label),
  }
}
