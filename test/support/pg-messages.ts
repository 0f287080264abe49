/** One side's messages, cut out of its bytes. The first of a client has no type. */
export class Framer {
  #rest = Buffer.alloc(0)
  #isTyped: boolean

  constructor(isTyped: boolean) {
    this.#isTyped = isTyped
  }

  *messages(chunk: Buffer): Generator<Buffer> {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (;;) {
      const head = this.#isTyped ? 1 : 0
      if (this.#rest.length < head + 4) return
      const length = head + this.#rest.readInt32BE(head)
      if (this.#rest.length < length) return
      const message = this.#rest.subarray(0, length)
      this.#rest = this.#rest.subarray(length)
      this.#isTyped = true
      yield message
    }
  }
}

export function typeOf(message: Buffer): string {
  return String.fromCharCode(message[0] ?? 0)
}

/** The name of a prepared statement, else its text, the same in every term. */
export function nameStatement(messages: Buffer[]): string {
  for (const message of messages) {
    const [first = '', second = ''] = message.toString('utf8', 5).split('\0')
    if (typeOf(message) === 'Q') return first.replace(/fence_term\(.*\)/, 'fence_term()')
    if (typeOf(message) === 'P') return first || second.trim().replace(/\s+/g, ' ').slice(0, 60)
    if (typeOf(message) === 'B') return second
  }
  return ''
}
