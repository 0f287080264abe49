import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** What a cable does to what passes: `whole`; `dropped`: nothing arrives, either way, and nobody is told;
 *  `half_open`: nothing that is sent into it arrives, what the far end says still does; `slow`: everything
 *  arrives, later. */
export type CableState = 'whole' | 'dropped' | 'half_open' | 'slow'

const slowMs = 500

/** A TCP connection's way between two processes, which can be damaged. Connections that were made before
 *  feel it, too, and those that were swallowed stay dead when it is whole again, as with real packets whose
 *  senders gave up. */
export class Cable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #state: CableState = 'whole'

  private constructor(server: Server) {
    this.#server = server
  }

  static async lay(port: number, host = '127.0.0.1'): Promise<Cable> {
    const server = createServer({ pauseOnConnect: true })
    const cable = new Cable(server)
    server.on('connection', (near) => cable.#join(near, connect(port, host)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return cable
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  set state(state: CableState) {
    const wasCut = this.#state === 'dropped' || this.#state === 'half_open'
    this.#state = state
    // What was swallowed is missing in the middle of a stream: that connection cannot live again.
    if (wasCut && state === 'whole') for (const socket of this.#sockets) socket.destroy()
  }

  remove(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }

  #join(near: Socket, far: Socket): void {
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('close', () => this.#sockets.delete(socket))
    }
    this.#carry(near, far, () => this.#state === 'dropped' || this.#state === 'half_open')
    this.#carry(far, near, () => this.#state === 'dropped')
    near.resume()
  }

  /** One direction. Its end is news as well, and gets lost like any other; and nothing overtakes what is on its
   *  way. */
  #carry(from: Socket, to: Socket, isLost: () => boolean): void {
    let underWay = 0
    const carry = (pass: () => unknown) => {
      if (this.#state !== 'slow' && underWay === 0) return void (isLost() || pass())
      underWay += 1
      setTimeout(() => {
        underWay -= 1
        if (!isLost()) pass()
      }, slowMs / 2)
    }
    from.on('data', (chunk: Buffer) => carry(() => to.write(chunk)))
    from.on('end', () => carry(() => to.end()))
    from.on('error', () => carry(() => to.destroy()))
    from.on('close', () => carry(() => to.destroySoon()))
  }
}
