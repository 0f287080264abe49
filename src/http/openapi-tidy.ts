/** The document without what only the generator needed. */

interface Schema {
  type?: string
  anyOf?: Schema[]
}

interface Operation {
  requestBody?: { required?: boolean; content: Record<string, { schema: Schema }> }
}

interface Document {
  components?: { schemas?: Record<string, unknown> }
  paths?: Record<string, Record<string, Operation>>
}

const reference = /"#\/components\/schemas\/([^"]+)"/g

/**
 * Every named schema is generated twice, as it is sent (`JobSubmitInput`) and as it is read
 * (`JobSubmit`), whether or not a route uses it. What no route reaches is left out, and what is left of
 * a pair alone gets the plain name.
 */
export function tidy<T extends object>(document: T): T {
  const { components, ...rest } = document as T & Document
  const schemas = components?.schemas ?? {}
  const used = reach(rest, schemas)
  const nameOf = (name: string) => {
    const plain = name.replace(/Input$/, '')
    return plain === name || used.has(plain) || !(plain in schemas) ? name : plain
  }
  const kept = [...used].map((name) => [nameOf(name), schemas[name]] as const)
  kept.sort(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify({
    ...document,
    components: { ...components, schemas: Object.fromEntries(kept) },
  })
  const named = JSON.parse(
    text.replace(reference, (_, name: string) => `"#/components/schemas/${nameOf(name)}"`),
  )
  tellOptionalBodies(named)
  return named
}

/** The generator has every body required, and one that may be left out be null. */
function tellOptionalBodies({ paths = {} }: Document): void {
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    const body = operation.requestBody
    const json = body?.content['application/json']
    const [schema, other] = json?.schema.anyOf ?? []
    if (!body || !json || !schema || other?.type !== 'null') continue
    body.required = false
    json.schema = schema
  }
}

function reach(start: object, schemas: Record<string, unknown>): Set<string> {
  const used = new Set<string>()
  const open = [start] as unknown[]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const [, name = ''] of JSON.stringify(next).matchAll(reference)) {
      if (used.has(name)) continue
      if (!(name in schemas)) throw new Error(`no component is named ${name}`)
      used.add(name)
      open.push(schemas[name])
    }
  }
  return used
}
