import type { Clock } from '../clock.ts'
import type { Term } from '../leader/term.ts'
import { findEndBefore } from '../sql/leader.ts'
import type { Queryable } from '../sql/pool.ts'

const lastWordMs = 1_000

/** How the term before this one ended; `first`: there was none. A replica that hands over lets the lock go
 *  first and writes down why a moment later, when its successor may have taken it for `vanished` already:
 *  so that is believed only once it had the time. */
export async function howTermBeforeEnded(db: Queryable, clock: Clock, term: Term): Promise<string> {
  const told = await findEndBefore(db, term.number)
  if (!told) return 'first'
  if (told.end_reason !== null && told.end_reason !== 'vanished') return told.end_reason
  await clock.sleep(lastWordMs, term.lost)
  return (await findEndBefore(db, term.number))?.end_reason ?? 'vanished'
}
