import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

const bytes = 16
/** Random bytes for many ids: to ask the system for those of one costs ten times what all the rest of it does. */
const page = Buffer.alloc(bytes * 256)
let used = page.length

/** Ids of one millisecond count on from each other: those of one batch are claimed in their order. */
let msecs = 0
let seq = 0

/** A UUIDv7, later than each that this process made before it. */
export function newJobId(): string {
  if (used === page.length) {
    randomFillSync(page)
    used = 0
  }
  const random = page.subarray(used, used + bytes)
  used += bytes
  const now = Date.now()
  // Half of the room is left for what counts on; a clock that was set back is waited for.
  seq = now > msecs ? random.readUInt32BE(6) >>> 1 : seq + 1
  msecs = Math.max(now, msecs)
  return v7({ random, msecs, seq })
}
