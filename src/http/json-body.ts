import { setImmediate } from 'node:timers/promises'
import { AppError, invalid } from '../errors.ts'

/** Deeper and wider than any honest document; far from what the stacks of Node and Postgres can follow, and
 *  from where an object becomes slow. docs/limits.md. */
const mostLevels = 64
const mostKeys = 10_000

/** From here on a body takes its turn: many that arrive together would be one stall of the event loop,
 *  longer than the trust window. */
const largeBody = 64 * 1_024

type Done = (error: Error | null, body?: unknown) => void

/** Parses bodies: small ones at once, the large ones one a turn of the event loop. */
export class BodyParser {
  #last: Promise<void> = Promise.resolve()

  parse(text: string, done: Done): void {
    if (text.length < largeBody) parseInto(text, done)
    else {
      this.#last = this.#last.then(() => setImmediate())
      void this.#last.then(() => parseInto(text, done))
    }
  }
}

function parseInto(text: string, done: Done): void {
  let body: unknown
  try {
    body = parseJsonBody(text)
  } catch (error) {
    done(error as Error)
    return
  }
  done(null, body)
}

/** Parses a body. Keys like __proto__ are data: nothing here merges a body into another object. */
export function parseJsonBody(text: string): unknown {
  if (text.trim() === '') throw new AppError('malformed_json', 'the body is empty')
  const { deepAt, wideAt, lostAt } = survey(text)
  if (deepAt !== undefined) {
    throw invalid(pathTo(text, deepAt), `nested deeper than ${mostLevels} levels`)
  }
  if (wideAt !== undefined) {
    throw invalid(pathTo(text, wideAt), `more than ${mostKeys} keys in one object`)
  }
  const body = parse(text)
  if (lostAt !== undefined) {
    throw invalid(pathTo(text, lostAt), 'a number that a double cannot hold; send it as text')
  }
  return body
}

/** Says where, but never what: V8's own message quotes the body. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const [where = ''] = / at position \d+(?: \(.*\))?$/.exec((error as Error).message) ?? []
    throw new AppError('malformed_json', `the body is not JSON${where}`)
  }
}

const [quote, backslash, comma, colon, point] = [0x22, 0x5c, 0x2c, 0x3a, 0x2e]
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d]

/** What of a text is refused, whether or not it is JSON. */
interface Survey {
  /** Where an array or object opens that is too deep. */
  deepAt?: number
  /** Where an object opens that has too many keys. */
  wideAt?: number
  /** Where the first number stands that JSON.parse would change. */
  lostAt?: number | undefined
}

/** Of the objects and arrays that are open, from the outermost: where they open, and their keys so far. */
const openedAt = new Int32Array(mostLevels + 1)
const keysSoFar = new Int32Array(mostLevels + 1)

/** One pass. A reviver could tell as well, in twenty times the time. */
function survey(text: string): Survey {
  let level = 0
  let lostAt: number | undefined
  // Colons that belong to no object count, too, but not from one body to the next.
  keysSoFar[0] = 0
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at)
    if (char === quote) at = endOfString(text, at)
    else if (char === openArray || char === openObject) {
      level += 1
      if (level > mostLevels) return { deepAt: at }
      openedAt[level] = at
      keysSoFar[level] = 0
    } else if (char === closeArray || char === closeObject) level -= 1
    else if (char === colon) {
      const keys = (keysSoFar[level] ?? 0) + 1
      if (keys > mostKeys) return { wideAt: openedAt[level] ?? 0 }
      keysSoFar[level] = keys
    } else if (isDigit(char)) {
      const end = endOfNumber(text, at)
      if (lostAt === undefined && mayBeLost(text, at, end) && isLost(text.slice(at, end))) {
        lostAt = at
      }
      at = end - 1
    }
  }
  return { lostAt }
}

/** Where what stands at `offset` belongs: the keys and indices that lead to it. */
function pathTo(text: string, offset: number): string {
  const path: (string | number)[] = []
  let lastString = ''
  for (let at = 0; at < offset; at += 1) {
    const char = text.charCodeAt(at)
    const last = path.length - 1
    if (char === quote) {
      const end = endOfString(text, at)
      lastString = text.slice(at + 1, end)
      at = end
    } else if (char === openObject) path.push('')
    else if (char === openArray) path.push(0)
    else if (char === closeArray || char === closeObject) path.pop()
    else if (char === colon) path[last] = lastString
    else if (char === comma && typeof path[last] === 'number') path[last] += 1
  }
  // Keys of any length, as deep as may be: enough of them to find the place.
  return path.join('.').slice(0, 256).toWellFormed()
}

/** The closing quote of the string that opens at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1
  for (; end < text.length; end += 1) {
    const char = text.charCodeAt(end)
    if (char === quote) break
    if (char === backslash) end += 1
  }
  return end
}

const isDigit = (char: number) => char >= 0x30 && char <= 0x39
const isExponent = (char: number) => char === 0x65 || char === 0x45
const isSign = (char: number) => char === 0x2b || char === 0x2d

function endOfNumber(text: string, at: number): number {
  let end = at + 1
  for (; end < text.length; end += 1) {
    const char = text.charCodeAt(end)
    if (!isDigit(char) && char !== point && !isExponent(char) && !isSign(char)) break
  }
  return end
}

/** Whether to look closer: fifteen digits are always kept, and three hundred are never infinite. */
function mayBeLost(text: string, at: number, end: number): boolean {
  let isWhole = true
  for (let next = at + 1; next < end; next += 1) {
    const char = text.charCodeAt(next)
    if (isExponent(char)) return true
    if (char === point) isWhole = false
  }
  return end - at > (isWhole ? 15 : 300)
}

/** A whole number keeps its digits, as a double is written or by its value, and none becomes infinite;
 *  fractions are rounded to the nearest double, as everybody's are. */
function isLost(literal: string): boolean {
  const number = Number(literal)
  if (!Number.isFinite(number)) return true
  if (!/^\d+$/.test(literal) || String(number) === literal) return false
  return BigInt(literal) !== BigInt(number)
}
