import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { sendHints } from '../sql/hints.ts'
import type { Queryable } from '../sql/pool.ts'

/** What replicas tell each other with NOTIFY. A hint may be lost: every listener also looks for
 *  itself. */
export type Hint =
  | { type: 'claimable'; classId: number }
  | { type: 'unlocked'; name: string }
  | { type: 'due' }
  | { type: 'leader' }
  | { type: 'tokens' }

export function encodeHint(hint: Hint): string {
  if (hint.type === 'claimable') return `claimable ${hint.classId}`
  return hint.type === 'unlocked' ? `unlocked ${hint.name}` : hint.type
}

export function decodeHint(payload: string): Hint | undefined {
  const [type, what = ''] = payload.split(' ')
  if (type === 'claimable' && /^\d+$/.test(what)) return { type, classId: Number(what) }
  if (type === 'unlocked') return { type, name: what }
  return type === 'due' || type === 'leader' || type === 'tokens' ? { type } : undefined
}

const spacingMs = 5
const mostAtOnce = 100

/** Sends hints: the first at once, later ones gathered and at least 5 ms apart. */
export class HintSender {
  readonly #db: Queryable
  readonly #channel: string
  readonly #clock: Clock
  readonly #log: Log
  #pending = new Set<string>()
  #isSending = false

  constructor(db: Queryable, channel: string, clock: Clock, log: Log) {
    this.#db = db
    this.#channel = channel
    this.#clock = clock
    this.#log = log
  }

  send(hint: Hint): void {
    this.#pending.add(encodeHint(hint))
    if (!this.#isSending) void this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true
    while (this.#pending.size > 0) {
      const payloads = [...this.#pending].slice(0, mostAtOnce)
      for (const payload of payloads) this.#pending.delete(payload)
      try {
        await sendHints(this.#db, this.#channel, payloads)
      } catch (error) {
        this.#log.debug({ err: error }, 'a hint was not sent; listeners look for themselves')
      }
      await this.#clock.sleep(spacingMs)
    }
    this.#isSending = false
  }
}
