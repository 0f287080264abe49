import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { untilLost } from '../support/stand.ts'

/** Every route of the document, asked for at each state. The gate answers before it asks who calls and for what: whoever
 *  has no token is told 401 only once it has let him through. */

const db = useDatabase()

interface Operation {
  requestBody?: { content: { 'application/json': { schema: { $ref?: string } } } }
}

interface Document {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { required?: string[] } | undefined> }
}

async function readDocument(): Promise<Document> {
  return parse(await readFile(new URL('../../openapi.yaml', import.meta.url), 'utf8'))
}

/** What an executor sends, or what changes one: what names an executor, in its path or in its body. */
function isExecutors(
  { components }: Document,
  method: string,
  path: string,
  { requestBody }: Operation,
) {
  if (method === 'get') return false
  const { $ref = '' } = requestBody?.content['application/json'].schema ?? {}
  const { required = [] } = components.schemas[$ref.split('/').at(-1) ?? ''] ?? {}
  return path.startsWith('/v1/executors/') || required.includes('executor_id')
}

/** What the standing decides, of others: `live` says so at all of them. */
const standing: Record<string, 'ready' | 'active' | 'leader'> = {
  'GET /health/ready': 'ready',
  'GET /health/active': 'active',
  'POST /v1/leader/step-down': 'leader',
}

/** Every route by who it is for, and what was answered there. */
async function askAll(api: Api) {
  const document = await readDocument()
  const answers: Record<string, Record<string, string>> = { executor: {}, any: {} }
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const route = `${method.toUpperCase()} ${path}`
      const { status, body } = await api.request(method.toUpperCase(), path.replace(/[{}]/g, ''))
      const surface = isExecutors(document, method, path, operation)
        ? 'executor'
        : (standing[route] ?? 'any')
      answers[surface] = {
        ...answers[surface],
        [route]: status === 503 ? body.code : 'let through',
      }
    }
  }
  return answers
}

const states = {
  standby: {
    executor: 'controller_standby',
    ready: 'let through',
    active: 'controller_standby',
    leader: 'controller_standby',
  },
  recovering: {
    executor: 'controller_recovering',
    ready: 'let through',
    active: 'let through',
    leader: 'let through',
  },
  active: {
    executor: 'let through',
    ready: 'let through',
    active: 'let through',
    leader: 'let through',
  },
  draining: {
    executor: 'controller_draining',
    ready: 'controller_draining',
    active: 'controller_draining',
    leader: 'controller_draining',
  },
} as const

/** A replica in this state. */
async function start(state: keyof typeof states): Promise<Api> {
  if (state === 'standby') await startActive(db)
  const isHeldUp = state === 'recovering'
  const replica = await startReplica(
    db,
    {},
    isHeldUp ? { duties: (duties) => ({ ...duties, recover: untilLost }) } : {},
  )
  if (state === 'active' || state === 'draining') await replica.api.untilActive()
  else await replica.api.untilReady()
  if (isHeldUp) await replica.events.wait('promoted')
  if (state === 'draining') replica.app.gate.drain()
  while (replica.app.gate.state !== state) await replica.api.get('/health/live')
  return replica.api.as(undefined)
}

test.for(Object.keys(states) as (keyof typeof states)[])(
  'invariant 12: %s: what executors call is served by the active alone, and whatever else by all',
  async (state, { expect }) => {
    const { any = {}, ...others } = await askAll(await start(state))
    for (const [surface, answers] of Object.entries(others)) {
      const wanted = states[state][surface as keyof (typeof states)[typeof state]]
      expect([surface, answers]).toEqual([
        surface,
        Object.fromEntries(Object.keys(answers).map((route) => [route, wanted])),
      ])
    }
    expect(new Set(Object.values(any))).toEqual(new Set(['let through']))
  },
)

test('what executors call is told from the rest by the document', async () => {
  const document = await readDocument()
  const routes = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method, operation]) => isExecutors(document, method, path, operation))
      .map(() => path.replace(/^\/v1\/|\{\w+\}\//g, '')),
  )
  expect(routes.sort()).toEqual([
    'executors/clear',
    'executors/deregister',
    'executors/drain',
    'executors/heartbeat',
    'executors/poll',
    'executors/register',
    'executors/report',
    'jobs/critical',
    'jobs/effects/abort',
    'jobs/effects/begin',
    'jobs/effects/commit',
  ])
})
