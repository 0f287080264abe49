import { setImmediate } from 'node:timers/promises'
import { AppError, invalid } from '../errors.ts'

/** Deeper than any honest document; far from what the stacks of Node and Postgres can follow. */
const mostLevels = 100

/** From here on a body takes its turn: many that arrive together would be one stall of the event loop,
 *  longer than the trust window. */
const largeBody = 64 * 1_024

/** Parses bodies, the large ones one a turn of the event loop. */
export class BodyParser {
  #last: Promise<void> = Promise.resolve()

  async parse(text: string): Promise<unknown> {
    if (text.length >= largeBody) {
      this.#last = this.#last.then(() => setImmediate())
      await this.#last
    }
    return parseJsonBody(text)
  }
}

/** Parses a body. Keys like __proto__ are data: nothing here merges a body into another object. */
export function parseJsonBody(text: string): unknown {
  if (text.trim() === '') throw new AppError('malformed_json', 'the body is empty')
  if (levelsOf(text) > mostLevels) throw invalid('', `nested deeper than ${mostLevels} levels`)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new AppError('malformed_json', `the body is not JSON: ${(error as Error).message}`)
  }
}

const quote = 0x22
const backslash = 0x5c
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d]

/** How deep arrays and objects are nested, by counting their brackets outside of strings. */
function levelsOf(text: string): number {
  let level = 0
  let deepest = 0
  let isInString = false
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (isInString) {
      if (char === backslash) at += 1
      else if (char === quote) isInString = false
    } else if (char === quote) isInString = true
    else if (char === openArray || char === openObject) {
      level += 1
      if (level > deepest) deepest = level
    } else if (char === closeArray || char === closeObject) level -= 1
  }
  return deepest
}
