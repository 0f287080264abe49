import type { Log } from '../log.ts'
import type { Counts } from '../loop.ts'
import type { Queryable } from '../sql/pool.ts'
import { findViolations } from '../sql/violations.ts'

/** Looks for what must never be. It is logged and counted, and stops nothing: most of the fleet is served
 *  better by a leader with one odd row than by none. */
export async function verify(db: Queryable, log: Log): Promise<Counts> {
  const violations = await findViolations(db)
  for (const violation of violations) log.error(violation, 'what must never be, is')
  return Object.fromEntries(violations.map(({ violation, count }) => [violation, count]))
}
