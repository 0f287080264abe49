import { readFile } from 'node:fs/promises'
import type { ActedEvent } from '../history/events.ts'
import { Recorder } from '../history/record.ts'

/** The world outside of a drill: a file that all executors append their acts to. A line is the act. */
export class Outside {
  readonly #file: string
  readonly #recorder: Recorder

  constructor(file: string) {
    this.#file = file
    this.#recorder = new Recorder(file)
  }

  act(act: Omit<ActedEvent, 'type' | 'at'>): void {
    this.#recorder.write({ type: 'acted', ...act })
  }

  /** Whether anybody has acted under this token: it is what outside systems can be asked by. */
  async has(token: string): Promise<boolean> {
    return (await readFile(this.#file, 'utf8')).includes(`"token":"${token}"`)
  }

  close(): void {
    this.#recorder.close()
  }
}
