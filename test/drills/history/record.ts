import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createWriteStream, type WriteStream } from 'node:fs'
import type { HistoryEvent } from './events.ts'

/** Milliseconds of the clock that all processes of this machine share. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Writes events as JSON lines, each stamped with when it was written. */
export class Recorder {
  readonly #file: WriteStream

  constructor(file: string) {
    this.#file = createWriteStream(file, { flags: 'a' })
  }

  write(event: Unstamped<HistoryEvent>): void {
    this.#file.write(`${JSON.stringify({ at: monotonic(), ...event })}\n`)
  }

  /** Ties the two clocks together. A pause between reading them would shift every commit that is told by it. */
  tellTime(): void {
    for (let tries = 0; tries < 20; tries += 1) {
      const before = monotonic()
      const wall = Date.now()
      const after = monotonic()
      if (after - before > 0.1) continue
      this.write({ type: 'clock', at: before, wall })
      return
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#file.end(resolve))
  }
}

type Unstamped<E> = E extends HistoryEvent ? Omit<E, 'at'> & { at?: number } : never

/** What undici's channels say of a request; the same object in all messages about it. */
interface Told {
  request: { origin: string; method: string; path: string; body: unknown }
  response?: { statusCode: number }
  chunk?: Buffer
  error?: Error
}

interface Try {
  op: string
  status: number
  chunks: Buffer[]
  wasSent: boolean
}

/** From now on every request of this process to the API is recorded, and what becomes of it: by what undici
 *  itself tells of each try, past all code of the SDK. Returns what ends that. */
export function recordRequests(recorder: Recorder, actor: string): () => void {
  const tries = new WeakMap<object, Try>()
  let count = 0
  const begin = ({ request }: Told) => {
    const { origin: url, method, path } = request
    if (!path.startsWith('/v1/')) return
    count += 1
    const op = `${actor}:${count}`
    tries.set(request, { op, status: 0, chunks: [], wasSent: false })
    recorder.write({ type: 'invoke', op, actor, method, url, path, body: parse(request.body) })
  }
  const heard: Record<string, (told: Told, its: Try) => void> = {
    'undici:client:sendHeaders': (_, its) => {
      its.wasSent = true
    },
    'undici:request:headers': ({ response }, its) => {
      its.status = response?.statusCode ?? 0
    },
    'undici:request:bodyChunkReceived': ({ chunk }, its) => {
      if (chunk) its.chunks.push(chunk)
    },
    'undici:request:trailers': (_, { op, status, chunks }) => {
      const body = parse(Buffer.concat(chunks))
      recorder.write({ type: 'answer', op, status, ...(body === undefined ? {} : { body }) })
    },
    'undici:request:error': ({ error }, { op, wasSent }) => {
      const { code } = (error ?? {}) as { code?: unknown }
      const why = typeof code === 'string' ? code : (error?.message ?? 'unknown')
      recorder.write({ type: 'lost', op, why, wasSent })
    },
  }
  const hear = (message: unknown, channel: string | symbol) => {
    const told = message as Told
    const its = tries.get(told.request)
    if (its) heard[String(channel)]?.(told, its)
    else if (channel === created) begin(told)
  }
  const channels = [created, ...Object.keys(heard)]
  for (const channel of channels) subscribe(channel, hear)
  return () => {
    for (const channel of channels) unsubscribe(channel, hear)
  }
}

const created = 'undici:request:create'

/** undefined: it is no JSON. */
function parse(body: unknown): unknown {
  try {
    return JSON.parse(`${body}`)
  } catch {
    return undefined
  }
}
