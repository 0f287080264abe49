import { validate } from 'uuid'
import { tooLarge } from '../errors.ts'

/** Opaque JSON as text. `undefined` has no JSON. */
export function toJson(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}

/** Opaque JSON as text, if it is no longer than that; throws payload_too_large. */
export function toBoundedJson(value: unknown, path: string, maxBytes: number): string {
  const text = toJson(value)
  if (Buffer.byteLength(text) <= maxBytes) return text
  throw tooLarge(path, maxBytes)
}

/** Ids are any text on the wire; one that is no UUID is simply not known. */
export function isJobId(id: string): boolean {
  return validate(id)
}
