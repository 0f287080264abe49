import type { Log } from '../log.ts'
import { mayBeOneRowsFault } from '../sql/failure.ts'

/** One bad row never stops its batch. What cannot be written together is written in halves, down to the
 *  row at fault, which is logged and left. `write` has a transaction of its own each time. Returns how many
 *  rows were left. */
export async function writeSparingBadRows(
  ids: string[],
  log: Log,
  write: (ids: string[]) => Promise<void>,
): Promise<number> {
  if (ids.length === 0) return 0
  try {
    await write(ids)
    return 0
  } catch (error) {
    if (!mayBeOneRowsFault(error)) throw error
    if (ids.length === 1) {
      log.error({ err: error, job_id: ids[0] }, 'a row cannot be written, and was left as it is')
      return 1
    }
  }
  const half = Math.ceil(ids.length / 2)
  const left = await writeSparingBadRows(ids.slice(0, half), log, write)
  return left + (await writeSparingBadRows(ids.slice(half), log, write))
}
