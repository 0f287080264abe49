import type { Log } from '../log.ts'
import { mayBeOneRowsFault } from '../sql/failure.ts'

/** After so many it is hardly single rows that are at fault; and each costs transactions that fail. */
const mostBadRows = 20
/** The others are counted. */
const mostLogged = 3

export interface Spared {
  /** Rows that cannot be written, and were left as they are. */
  bad_rows: number
  /** How many of the ids were tried, from the first on; the rest is for another pass. */
  tried: number
}

/** One bad row never stops its batch. What cannot be written together is written in halves, down to the
 *  row at fault, which is left. `write` has a transaction of its own each time. */
export async function writeSparingBadRows(
  ids: string[],
  log: Log,
  write: (ids: string[]) => Promise<void>,
): Promise<Spared> {
  const spared: Spared = { bad_rows: 0, tried: 0 }
  const parts = ids.length > 0 ? [ids] : []
  for (let part = parts.pop(); part && spared.bad_rows < mostBadRows; part = parts.pop()) {
    try {
      await write(part)
      spared.tried += part.length
    } catch (error) {
      if (!mayBeOneRowsFault(error)) throw error
      if (part.length > 1) {
        const half = Math.ceil(part.length / 2)
        parts.push(part.slice(half), part.slice(0, half))
        continue
      }
      spared.bad_rows += 1
      spared.tried += 1
      if (spared.bad_rows > mostLogged) continue
      log.error({ err: error, job_id: part[0] }, 'a row cannot be written, and was left as it is')
    }
  }
  return spared
}
