import type { Socket } from 'node:net'
import { Framer, nameStatement, typeOf } from './pg-messages.ts'

/** Every statement that goes over the wire, in order: one round trip each. */
export class StatementLog {
  #statements: string[] = []
  #unanswered = 0

  /** For a proxy in front of Postgres. */
  readonly watch = (client: Socket, server: Socket): void => {
    const requests = new Framer(false)
    const answers = new Framer(true)
    let isOpen = false
    // The opening is the first.
    let unanswered = 1
    this.#unanswered += 1
    let statement: Buffer[] = []
    client.on('data', (chunk: Buffer) => {
      for (const message of requests.messages(chunk)) {
        if (!isOpen) continue
        statement.push(message)
        if (!'QS'.includes(typeOf(message))) continue
        this.#statements.push(nameStatement(statement))
        statement = []
        unanswered += 1
        this.#unanswered += 1
      }
    })
    server.on('data', (chunk: Buffer) => {
      for (const message of answers.messages(chunk)) {
        if (typeOf(message) !== 'Z') continue
        isOpen = true
        unanswered -= 1
        this.#unanswered -= 1
      }
    })
    client.on('close', () => {
      this.#unanswered -= unanswered
      unanswered = 0
    })
  }

  get isIdle(): boolean {
    return this.#unanswered === 0
  }

  /** Those since it was asked last. */
  take(): string[] {
    const taken = this.#statements
    this.#statements = []
    return taken
  }
}
