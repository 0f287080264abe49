import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { Framer, nameStatement, typeOf } from './pg-messages.ts'

/** What sweeps ask again and again would never come to an end; a recovery commits five times. */
const mostTimes = 5

/** A proxy in front of Postgres that knows its protocol, and ends one backend at a chosen statement. */
export class CuttingProxy {
  readonly url: string
  readonly #target: URL
  readonly #admin: pg.Client
  readonly #sockets = new Set<Socket>()
  #seen: Map<string, number> | undefined
  #done: ReadonlySet<string> = new Set()
  #made: string | undefined

  constructor(databaseUrl: string, port: number, admin: pg.Client) {
    this.#target = new URL(databaseUrl)
    this.#admin = admin
    this.url = Object.assign(new URL(databaseUrl), { hostname: '127.0.0.1', port: `${port}` }).href
  }

  /** From now on one session is ended: `before` its server sees a statement, or `after` it has carried it
   *  out and before its answer is passed on; at the first such point that is not `done`. */
  arm(done: ReadonlySet<string>): void {
    this.#done = done
    this.#seen = new Map()
    this.#made = undefined
  }

  /** The cut that was made since, if a new point came. */
  disarm(): string | undefined {
    this.#seen = undefined
    return this.#made
  }

  accept(client: Socket): void {
    const server = connect(Number(this.#target.port), this.#target.hostname)
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('end', () => other.end())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroySoon()
      })
    }
    const session = { pid: 0, isCut: false, isWithheld: false }
    this.#passRequests(client, server, session)
    this.#passAnswers(client, server, session)
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #passRequests(client: Socket, server: Socket, session: Session): void {
    const framer = new Framer(false)
    let statement: Buffer[] = []
    client.on('data', (chunk: Buffer) => {
      for (const message of framer.messages(chunk)) {
        statement.push(message)
        if (session.pid > 0 && !'QSX'.includes(typeOf(message))) continue
        const when = session.pid > 0 ? this.#count(nameStatement(statement)) : undefined
        if (when === 'before') this.#end(session)
        else if (!session.isCut) server.write(Buffer.concat(statement))
        session.isWithheld ||= when === 'after'
        statement = []
      }
    })
  }

  #passAnswers(client: Socket, server: Socket, session: Session): void {
    const framer = new Framer(true)
    server.on('data', (chunk: Buffer) => {
      for (const message of framer.messages(chunk)) {
        if (typeOf(message) === 'K') session.pid = message.readInt32BE(5)
        if (!session.isWithheld) client.write(message)
        else if (typeOf(message) === 'Z') {
          session.isWithheld = false
          this.#end(session)
        }
      }
    })
  }

  /** Whether this statement is where to cut. The reads with which sweeps look for work come at any time. */
  #count(statement: string): 'before' | 'after' | undefined {
    if (!this.#seen || this.#made !== undefined) return undefined
    if (statement === '' || /^(probe_|list_reclaimable)/.test(statement)) return undefined
    const nth = (this.#seen.get(statement) ?? 0) + 1
    this.#seen.set(statement, nth)
    if (nth > mostTimes) return undefined
    for (const when of ['before', 'after'] as const) {
      const point = `${when} ${statement} ${nth}`
      if (this.#done.has(point)) continue
      this.#made = point
      return when
    }
    return undefined
  }

  /** What the backend says of its end is passed on; what the client still sends is not. */
  #end(session: Session): void {
    session.isCut = true
    void this.#admin.query('SELECT pg_terminate_backend($1)', [session.pid])
  }
}

interface Session {
  pid: number
  isCut: boolean
  isWithheld: boolean
}

export async function startCuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const admin = new pg.Client({ connectionString: databaseUrl })
  await admin.connect()
  const server = createServer((client) => proxy.accept(client))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy = new CuttingProxy(databaseUrl, (server.address() as AddressInfo).port, admin)
  onTestFinished(async () => {
    proxy.destroy()
    server.close()
    await admin.end()
  })
  return proxy
}
