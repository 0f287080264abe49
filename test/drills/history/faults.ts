import type { HistoryEvent } from './events.ts'
import { addTo } from './indexed.ts'

export interface Harm {
  from: number
  until: number
}

/** By target: when it was harmed. One that heals by itself is over at once, as far as is known. */
export function readFaults(events: HistoryEvent[]): Map<string, Harm[]> {
  const harms = new Map<string, Harm[]>()
  const open = new Map<string, Harm>()
  for (const event of events) {
    if (event.type !== 'fault') continue
    const name = `${event.fault} ${event.target}`
    if (event.phase === 'start') {
      const harm = { from: event.at, until: event.at }
      open.set(name, harm)
      addTo(harms, event.target, harm)
    } else {
      const harm = open.get(name)
      if (harm) harm.until = event.at
    }
  }
  return harms
}

export function isFaulty(
  harms: Map<string, Harm[]>,
  targets: string[],
  from: number,
  until: number,
): boolean {
  return targets.some((target) =>
    harms.get(target)?.some((harm) => harm.from <= until && harm.until >= from),
  )
}
