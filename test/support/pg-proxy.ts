import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface PgProxy {
  /** The database's URL, through the proxy. */
  url: string
  /** From now on nothing is passed on, either way, and nobody is told. */
  freeze(): void
  /** Ends every connection and refuses new ones. */
  cut(): void
  /** Passes everything on again, for new connections. */
  heal(): void
  /** The next COMMIT reaches Postgres; its connection ends before the answer comes back. */
  loseNextCommit(): Promise<void>
}

/** A TCP proxy in front of Postgres that can go silent, as a cut cable does. */
export async function startPgProxy(databaseUrl: string): Promise<PgProxy> {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let mode: 'passing' | 'frozen' | 'cut' = 'passing'
  let onCommitLost: (() => void) | undefined
  const server = createServer((client) => {
    if (mode === 'cut') {
      client.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    if (mode === 'frozen') {
      client.pause()
      return
    }
    client.pipe(upstream)
    upstream.pipe(client)
    client.on('data', (chunk: Buffer) => {
      if (!onCommitLost || !chunk.includes('COMMIT\0')) return
      const tell = onCommitLost
      onCommitLost = undefined
      upstream.unpipe(client)
      // The answer says that Postgres has committed; it goes no further.
      upstream.once('data', () => {
        client.destroy()
        upstream.destroy()
        tell()
      })
      upstream.resume()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const destroyAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(() => {
    destroyAll()
    server.close()
  })
  return {
    url: Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: String(port) }).href,
    freeze: () => {
      mode = 'frozen'
      for (const socket of sockets) {
        socket.unpipe()
        socket.pause()
      }
    },
    cut: () => {
      mode = 'cut'
      destroyAll()
    },
    heal: () => {
      mode = 'passing'
      destroyAll()
    },
    loseNextCommit: () =>
      new Promise((resolve) => {
        onCommitLost = resolve
      }),
  }
}
