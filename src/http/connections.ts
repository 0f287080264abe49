import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { AppError } from '../errors.ts'

export interface ConnectionLimits {
  /** Beyond these a connection is spare: it serves one probe, or one refusal. */
  maxConnections: number
  spareConnections: number
  /** How long a spare connection may last. */
  spareMs: number
  /** Requests without an answer on one connection, those parked included. */
  maxUnanswered: number
}

interface Connection {
  isSpare: boolean
  /** The answer under way is its last: what follows is not done, since nobody would hear of it. */
  isClosing: boolean
  unanswered: number
  /** The latest request. */
  latest: IncomingMessage | undefined
}

/** Counts the connections of a server and what each asks for at once. Node itself would read any number of
 *  requests from one connection, and hold them all. */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #known = new WeakMap<Socket, Connection>()
  readonly #onChange: (open: number) => void
  #open = 0

  constructor(limits: ConnectionLimits, onChange: (open: number) => void) {
    this.#limits = limits
    this.#onChange = onChange
  }

  /** `onSpare`: all but the spare connections are taken. `onDrop`: one was closed unheard, beyond those. */
  guard(server: Server, { onSpare, onDrop }: { onSpare(): void; onDrop(): void }): void {
    server.maxConnections = this.#limits.maxConnections + this.#limits.spareConnections
    server.on('drop', onDrop)
    server.on('connection', (socket) => {
      if (this.#accept(socket)) onSpare()
    })
  }

  /** True: it is a spare one. */
  #accept(socket: Socket): boolean {
    const isSpare = this.#open >= this.#limits.maxConnections
    this.#known.set(socket, { isSpare, isClosing: false, unanswered: 0, latest: undefined })
    this.#open += 1
    this.#onChange(this.#open)
    const end = isSpare ? setTimeout(() => socket.destroy(), this.#limits.spareMs) : undefined
    socket.once('close', () => {
      this.#open -= 1
      this.#onChange(this.#open)
      clearTimeout(end)
    })
    return isSpare
  }

  /** A request has come. Returns the refusal of one too many, whose connection is closed, and of one behind
   *  the last. */
  begin(request: IncomingMessage): AppError | undefined {
    const connection = this.#known.get(request.socket)
    if (!connection) return undefined
    connection.unanswered += 1
    connection.latest = request
    if (connection.unanswered > this.#limits.maxUnanswered) {
      request.socket.destroy()
      // No 503, which would count as a stall: it is its client's own excess, and needs no token.
      return new AppError('invalid_request', 'too many requests at once on one connection')
    }
    if (!connection.isClosing) return undefined
    return new AppError('invalid_request', 'the connection is closing')
  }

  /** No request after this one is heard on its connection. */
  endWith({ socket }: IncomingMessage): void {
    const connection = this.#known.get(socket)
    if (connection) connection.isClosing = true
  }

  answered({ socket }: IncomingMessage): void {
    const connection = this.#known.get(socket)
    if (connection) connection.unanswered -= 1
  }

  isClosing(socket: Socket): boolean {
    return this.#known.get(socket)?.isClosing ?? false
  }

  isSpare(socket: Socket): boolean {
    return this.#known.get(socket)?.isSpare ?? false
  }

  /** Whether the next answer on this connection is that of the request which its client has not finished
   *  sending, and of no other. */
  awaitsRest(socket: Socket): boolean {
    const { unanswered = 0, latest } = this.#known.get(socket) ?? {}
    if (latest === undefined || latest.complete) return unanswered === 0
    return unanswered === 1
  }
}
