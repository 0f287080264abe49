import build, { type Schema } from 'fast-json-stringify'
import { z } from 'zod'

/** Writes answers as their schemas say: fields that a schema lacks are left out, and one that it demands must be there.
 *  Compiled once for each route; to check each value by its schema again would cost as much as making it did. */
export function compileSerializer(schema: unknown): (answer: unknown) => string {
  if (!(schema instanceof z.ZodType)) throw new TypeError('an answer is described by a zod schema')
  return build(
    z.toJSONSchema(schema, {
      target: 'openapi-3.0',
      io: 'output',
      // In place, without the names that the API document has for them.
      metadata: z.registry(),
      unrepresentable: 'any',
    }) as Schema,
  )
}
