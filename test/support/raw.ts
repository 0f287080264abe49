import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A connection on which a test writes whatever it likes, HTTP or not. */
export class RawConnection {
  readonly socket: Socket
  /** Resolves when the far side has closed it. */
  readonly closed: Promise<void>
  received = ''

  constructor(url: string) {
    const { hostname, port } = new URL(url)
    this.socket = connect(Number(port), hostname)
    this.socket.setEncoding('utf8')
    this.socket.on('data', (text: string) => {
      this.received += text
    })
    // A reset is one of the ways in which it ends.
    this.socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => this.socket.once('close', () => resolve()))
    onTestFinished(() => {
      this.socket.destroy()
    })
  }

  write(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Resolves once something like this was received; throws if the connection ends before. */
  async until(wanted: RegExp): Promise<void> {
    while (!wanted.test(this.received)) {
      const more = new Promise((resolve) => this.socket.once('data', resolve))
      await Promise.race([more, this.closed])
      if (this.socket.destroyed && !wanted.test(this.received)) {
        throw new Error(`closed after ${JSON.stringify(this.received)}`)
      }
    }
  }

  /** Sends one byte a millisecond until the far side closes. Returns how many were sent. */
  async drip(text: string): Promise<number> {
    let sent = 0
    const timer = setInterval(() => this.write(text[sent++ % text.length] ?? ''), 1)
    await this.closed
    clearInterval(timer)
    return sent
  }

  /** Statuses of the answers that came. */
  get statuses(): number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
  }

  /** The body of the last answer, which must be a problem. */
  problem(): { code: string; status: number; request_id: string } {
    const last = this.received.split(/(?=HTTP\/1\.1 \d{3} )/).at(-1) ?? ''
    const [head = '', body = ''] = last.split('\r\n\r\n')
    if (!/^content-type: application\/problem\+json/im.test(head)) throw new Error(head)
    return JSON.parse(body)
  }
}
