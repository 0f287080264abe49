import { validate } from 'uuid'

/** Opaque JSON as text. `undefined` has no JSON. */
export function toJson(value: unknown): string {
  return JSON.stringify(value) ?? 'null'
}

/** Ids are any text on the wire; one that is no UUID is simply not known. */
export function isJobId(id: string): boolean {
  return validate(id)
}
