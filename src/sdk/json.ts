/** A value that cannot be sent: `code` is `too_large` or `not_json`. */
export class UnsendableError extends TypeError {
  readonly code: 'too_large' | 'not_json'

  constructor(code: 'too_large' | 'not_json', message: string) {
    super(message)
    this.name = 'UnsendableError'
    this.code = code
  }
}

/** The value as JSON carries it, and its size. Undefined is null. Throws UnsendableError. */
export function toJson(value: unknown, mostBytes: number): { value: unknown; bytes: number } {
  const text = stringify(value ?? null)
  const bytes = Buffer.byteLength(text)
  if (bytes > mostBytes) {
    throw new UnsendableError('too_large', `${bytes} bytes of JSON; at most ${mostBytes} are kept`)
  }
  return { value: JSON.parse(text), bytes }
}

function stringify(value: unknown): string {
  let why: string
  try {
    const text: string | undefined = JSON.stringify(value)
    if (text !== undefined) return text
    why = `a ${typeof value}`
  } catch (error) {
    why = textOf(error)
  }
  throw new UnsendableError('not_json', `JSON cannot express it: ${why}`)
}

/** The text as errors may have it on the wire. */
export function toText(text: string, longest: number): string {
  return text.replaceAll('\0', '').slice(0, longest).toWellFormed()
}

/** As an Error, whatever was thrown: a revoked proxy throws at the very look at it. */
export function toError(thrown: unknown): Error {
  try {
    return thrown instanceof Error ? thrown : new Error(textOf(thrown))
  } catch {
    return new Error(textOf(thrown))
  }
}

/** What an error says, whatever was thrown. */
export function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return 'something that has no text was thrown'
  }
}
