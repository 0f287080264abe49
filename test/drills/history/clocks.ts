import type { ClockEvent } from './events.ts'

/** What two clocks, read one after the other by different processes, may differ by. */
export const toleranceMs = 10

/** Turns instants of the wall clock, which commits are stamped with, into those of the monotonic clock:
 *  between two clock lines by their proportion, outside of all of them by the nearest. */
export function toMonotonic(clocks: ClockEvent[]): (wall: number) => number {
  const lines = clocks.toSorted((a, b) => a.wall - b.wall)
  return (wall) => {
    const next = firstIndex(lines.length, (index) => (lines[index]?.wall ?? 0) >= wall)
    const before = lines[next - 1]
    const after = lines[next]
    const nearest = before ?? after
    if (!nearest) throw new Error('a history with commits needs a clock line')
    if (!before || !after) return nearest.at + wall - nearest.wall
    const part = (wall - before.wall) / (after.wall - before.wall)
    return before.at + part * (after.at - before.at)
  }
}

/** The first index from 0 to `length` for which `isFrom` holds; it holds for all that follow. */
export function firstIndex(length: number, isFrom: (index: number) => boolean): number {
  let low = 0
  for (let high = length; low < high; ) {
    const middle = (low + high) >> 1
    if (isFrom(middle)) high = middle
    else low = middle + 1
  }
  return low
}

/** Milliseconds since the epoch of an instant as Postgres prints it in ISO style, microseconds included. */
export function parseInstant(text: string): number {
  const match = /^(\S+) (\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d)(:\d\d)?$/.exec(text)
  if (!match) throw new Error(`no instant: ${text}`)
  const [, day, time, fraction = '.0', hours, minutes = ':00'] = match
  return Date.parse(`${day}T${time}${hours}${minutes}`) + Number(fraction) * 1_000
}
