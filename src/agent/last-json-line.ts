import { StringDecoder } from 'node:string_decoder'

/** Longest line that is looked at; a longer one is skipped to its end. */
const longestLine = 256 * 1_024

/** Finds the last line of a stream that is JSON, holding one line at a time. */
export class LastJsonLine {
  readonly #decoder = new StringDecoder('utf8')
  #line = ''
  #isTooLong = false
  #value: unknown

  write(chunk: Buffer): void {
    const [first = '', ...rest] = this.#decoder.write(chunk).split('\n')
    this.#append(first)
    for (const part of rest) {
      this.#endLine()
      this.#append(part)
    }
  }

  /** The value of the last JSON line; undefined if there was none. */
  end(): unknown {
    this.#append(this.#decoder.end())
    this.#endLine()
    return this.#value
  }

  #append(part: string): void {
    if (this.#isTooLong) return
    this.#line += part
    this.#isTooLong = this.#line.length > longestLine
    if (this.#isTooLong) this.#line = ''
  }

  #endLine(): void {
    const line = this.#line.trim()
    this.#line = ''
    this.#isTooLong = false
    if (!/^[[{"\d-]|^(true|false|null)$/.test(line)) return
    try {
      this.#value = JSON.parse(line)
    } catch {
      // A line that only looks like JSON is output like any other.
    }
  }
}
