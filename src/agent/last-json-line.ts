import { StringDecoder } from 'node:string_decoder'

/** Longest line that is read; no result may be longer. */
const longestLine = 256 * 1_024

/** Finds the last line of a stream that is JSON, holding one line at a time. */
export class LastJsonLine {
  readonly #decoder = new StringDecoder('utf8')
  #line = ''
  #isSkipping = false
  #value: unknown
  #isTooLong = false

  write(chunk: Buffer): void {
    const [first = '', ...rest] = this.#decoder.write(chunk).split('\n')
    this.#append(first)
    for (const part of rest) {
      this.#endLine()
      this.#append(part)
    }
  }

  /** Whether the last line that looked like JSON was too long to be read. */
  get isTooLong(): boolean {
    return this.#isTooLong
  }

  /** The value of the last JSON line; undefined if there was none, or it was too long. */
  end(): unknown {
    this.#append(this.#decoder.end())
    this.#endLine()
    return this.#value
  }

  #append(part: string): void {
    if (this.#isSkipping) return
    this.#line += part
    this.#isSkipping = this.#line.length > longestLine
    if (this.#isSkipping) this.#line = this.#line.trimStart().slice(0, 1)
  }

  #endLine(): void {
    const line = this.#line.trim()
    const wasTooLong = this.#isSkipping
    this.#line = ''
    this.#isSkipping = false
    if (!/^[[{"\d-]|^(true|false|null)$/.test(line)) return
    try {
      this.#value = wasTooLong ? undefined : JSON.parse(line)
      this.#isTooLong = wasTooLong
    } catch {
      // A line that only looks like JSON is output like any other.
    }
  }
}
