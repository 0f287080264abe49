import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from 'fastify-type-provider-zod'
import { version } from '../version.ts'
import { tidy } from './openapi-tidy.ts'

/** The head of openapi.yaml; the rest is generated from the schemas of the routes. */
export const openapiInfo = {
  openapi: '3.1.0',
  info: {
    title: 'Understudy',
    version,
    description:
      'Control plane for fleets of executor agents. Errors are application/problem+json with a stable `code`.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  components: {
    securitySchemes: { bearer: { type: 'http' as const, scheme: 'bearer' } },
  },
  servers: [{ url: '/', description: 'The replica, or the balancer, that serves this document' }],
  security: [{ bearer: [] }],
  tags: [
    { name: 'jobs', description: 'Submitting and following work. Any replica.' },
    { name: 'executors', description: 'Doing work. The active replica only.' },
    { name: 'locks', description: 'Named locks for actors outside. Any replica.' },
    { name: 'cluster', description: 'Who leads, and how everything stands.' },
    { name: 'tokens', description: 'Who may do what.' },
    { name: 'health', description: 'For load balancers and probes. No token.' },
  ],
}

/** Leaves out of a schema what says nothing, and what would break clients: answers may grow fields. */
const zodToJsonConfig = {
  override: ({ zodSchema, jsonSchema }: OverrideContext) => {
    const { type, catchall } = zodSchema._zod.def
    if (type === 'object' && catchall === undefined) delete jsonSchema.additionalProperties
    if (['date-time', 'uuid'].includes(String(jsonSchema.format))) delete jsonSchema.pattern
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  },
}

interface OverrideContext {
  zodSchema: { _zod: { def: { type: string; catchall?: unknown } } }
  jsonSchema: Record<string, unknown>
}

/** How @fastify/swagger turns the routes' schemas into the document. */
export const openapiTransforms = {
  transform: createJsonSchemaTransform({ zodToJsonConfig }),
  transformObject: (document: Parameters<typeof toComponents>[0]) => tidy(toComponents(document)),
}

const toComponents = createJsonSchemaTransformObject({ zodToJsonConfig })
