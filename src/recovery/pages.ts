import type { Log } from '../log.ts'
import { writeSparingBadRows } from '../services/bad-rows.ts'

const batch = 500
const beforeAll = '00000000-0000-0000-0000-000000000000'

/** Writes to what a list of jobs finds, page by page. Where many rows cannot be written, the rest is left: the gate
 *  does not wait for them. */
export async function writePages(
  log: Log,
  list: (after: string, limit: number) => Promise<string[]>,
  write: (ids: string[]) => Promise<void>,
): Promise<{ bad_rows: number }> {
  let badRows = 0
  for (let after = beforeAll, found = batch; found === batch; ) {
    const ids = await list(after, batch)
    const { bad_rows, tried } = await writeSparingBadRows(ids, log, write)
    badRows += bad_rows
    found = tried
    after = ids.at(-1) ?? after
  }
  return { bad_rows: badRows }
}
