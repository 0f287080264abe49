import { isDeepStrictEqual } from 'node:util'

/** Where what was seen is not what the model has, one line each. */
export function differences(seen: unknown, expected: unknown, path = ''): string[] {
  if (isDeepStrictEqual(seen, expected)) return []
  const isInside = isObject(seen) && isObject(expected)
  if (!isInside) return [`${path}: is ${JSON.stringify(seen)}; model: ${JSON.stringify(expected)}`]
  const names = new Set([...Object.keys(seen), ...Object.keys(expected)])
  return [...names].flatMap((name) =>
    differences(seen[name], expected[name], path === '' ? name : `${path}.${name}`),
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
