import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { closeSync, openSync, writeSync } from 'node:fs'
import type { HistoryEvent } from './events.ts'

/** Milliseconds of the clock that all processes of this machine share. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Writes events as JSON lines, each stamped with when it was written. A line is in the file before anything
 *  else is done: a process that is killed leaves out no request that it sent. */
export class Recorder {
  #file: number | undefined

  constructor(file: string) {
    this.#file = openSync(file, 'a')
  }

  write(event: Unstamped<HistoryEvent>): void {
    if (this.#file === undefined) throw new Error(`the history is closed: ${event.type}`)
    writeSync(this.#file, `${JSON.stringify({ at: monotonic(), ...event })}\n`)
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

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }
}

type Unstamped<E> = E extends HistoryEvent ? Omit<E, 'at'> & { at?: number } : never

/** What undici's channels say of a request; the same object in all messages about it. */
interface Told {
  request: { origin: string; method: string; path: string; body: unknown }
  /** Of headers, names and values in turn. */
  response?: { statusCode: number; headers: Buffer[] }
  chunk?: Buffer
  error?: Error
}

interface Try {
  op: string
  status: number
  servedBy: string | undefined
  chunks: Buffer[]
  wasSent: boolean
}

/** From now on every request of this process to the API is recorded, and what becomes of it: by what undici
 *  itself tells of each try, past all code of the SDK. Reads are left out: they are many, and no invariant asks for them. Returns what ends that. */
export function recordRequests(recorder: Recorder, actor: string): () => void {
  const tries = new WeakMap<object, Try>()
  const heard = listenersOf(recorder)
  let count = 0
  const begin = ({ request }: Told) => {
    const { origin: url, method, path } = request
    if (!path.startsWith('/v1/') || method === 'GET') return
    count += 1
    const op = `${actor}:${count}`
    tries.set(request, { op, status: 0, servedBy: undefined, chunks: [], wasSent: false })
    recorder.write({ type: 'invoke', op, actor, method, url, path, body: parse(request.body) })
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

/** What each channel tells of a try that has begun. */
function listenersOf(recorder: Recorder): Record<string, (told: Told, its: Try) => void> {
  return {
    'undici:client:sendHeaders': (_, its) => {
      its.wasSent = true
    },
    'undici:request:headers': ({ response }, its) => {
      its.status = response?.statusCode ?? 0
      its.servedBy = findHeader(response?.headers ?? [], 'x-served-by')
    },
    'undici:request:bodyChunkReceived': ({ chunk }, its) => {
      if (chunk) its.chunks.push(chunk)
    },
    'undici:request:trailers': (_, { op, status, servedBy, chunks }) => {
      const body = parse(Buffer.concat(chunks))
      recorder.write({
        ...{ type: 'answer', op, status },
        ...(servedBy === undefined ? {} : { servedBy }),
        ...(body === undefined ? {} : { body }),
      })
    },
    'undici:request:error': ({ error }, { op, wasSent }) => {
      const { code } = (error ?? {}) as { code?: unknown }
      const why = typeof code === 'string' ? code : (error?.message ?? 'unknown')
      recorder.write({ type: 'lost', op, why, wasSent })
    },
  }
}

function findHeader(headers: Buffer[], name: string): string | undefined {
  const at = headers.findIndex(
    (header, index) => index % 2 === 0 && `${header}`.toLowerCase() === name,
  )
  return at < 0 ? undefined : `${headers[at + 1]}`
}

/** undefined: it is no JSON. */
function parse(body: unknown): unknown {
  try {
    return JSON.parse(`${body}`)
  } catch {
    return undefined
  }
}
