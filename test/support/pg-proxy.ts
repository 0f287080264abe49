import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Listens to a new session. */
type Watch = (client: Socket, upstream: Socket) => void

/** A TCP proxy in front of Postgres that can go silent, as a cut cable does, or lose an answer. */
export class PgProxy {
  /** The database's URL, through the proxy. */
  readonly url: string
  readonly #target: URL
  readonly #sockets = new Set<Socket>()
  #isFrozen = false
  #isCut = false
  #hidesEnds = false
  readonly #watch: Watch | undefined
  #toLose: { after?: string; text: string; tell(): void } | undefined

  constructor(databaseUrl: string, port: number, watch?: Watch) {
    this.#watch = watch
    this.#target = new URL(databaseUrl)
    this.url = Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: `${port}` }).href
  }

  /** From now on nothing is passed on, either way, and nobody is told. */
  freeze(): void {
    this.#isFrozen = true
    for (const socket of this.#sockets) {
      socket.unpipe()
      socket.pause()
    }
  }

  /** From now on Postgres is not told that a client's connection has ended, as by a way that forgot it. */
  hideEnds(): void {
    this.#hidesEnds = true
  }

  /** From now on every connection ends at once. */
  cut(): void {
    this.#isCut = true
    this.destroy()
  }

  /** The next COMMIT of this named statement reaches Postgres; its connection ends before the answer comes back. Those
   *  of sweeps may come at any time, and are passed on. */
  loseCommitOf(statement: string): Promise<void> {
    return new Promise((tell) => {
      this.#toLose = { after: `${statement}\0`, text: 'COMMIT\0', tell }
    })
  }

  /** The same for the next message with this text. */
  loseAnswer(text: string): Promise<void> {
    return new Promise((tell) => {
      this.#toLose = { text, tell }
    })
  }

  accept(client: Socket): void {
    if (this.#isCut) return void client.destroy()
    const upstream = connect(Number(this.#target.port), this.#target.hostname)
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => this.#sockets.delete(socket))
    }
    if (this.#isFrozen) {
      client.pause()
      return
    }
    this.#watch?.(client, upstream)
    client.pipe(upstream, { end: false })
    client.on('end', () => {
      if (!this.#hidesEnds) upstream.end()
    })
    upstream.pipe(client)
    let hasRun = false
    client.on('data', (chunk: Buffer) => {
      if (!this.#toLose) return
      const { after, text } = this.#toLose
      hasRun ||= after === undefined || chunk.includes(after)
      if (!hasRun || !chunk.includes(text)) return
      hasRun = false
      this.#lose(client, upstream)
    })
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #lose(client: Socket, upstream: Socket): void {
    const tell = this.#toLose?.tell
    this.#toLose = undefined
    upstream.unpipe(client)
    // The answer says that Postgres has done it; it goes no further.
    upstream.once('data', () => {
      client.destroy()
      upstream.destroy()
      tell?.()
    })
    upstream.resume()
  }
}

export async function startPgProxy(databaseUrl: string, watch?: Watch): Promise<PgProxy> {
  const server = createServer((client) => proxy.accept(client))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy = new PgProxy(databaseUrl, (server.address() as AddressInfo).port, watch)
  onTestFinished(() => {
    proxy.destroy()
    server.close()
  })
  return proxy
}
