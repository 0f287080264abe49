import { expect, test } from 'vitest'
import type { Role } from '../../src/contract/tokens.ts'
import type { Answer, Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { patient } from '../support/health.ts'
import { startActive } from '../support/replica.ts'

const db = useDatabase()
// Bad tokens are what this is about, and what silence does would pass for theirs.
const env = { ...patient, UNDERSTUDY_FAILED_LOGINS_PER_MINUTE: '100000' }

/** What the bodies of a route name. */
interface Target {
  executor_id: string
  epoch: number
  job_id: string
  fence: number
}

interface Row {
  roles: readonly Role[] | 'anyone'
  /** Such that the route would do something. */
  body?(target: Target): object
}

const roles = ['executor', 'submit', 'read', 'operator', 'admin'] as const
const submitters = ['submit', 'operator', 'admin'] as const
const readers = ['read', 'operator', 'admin'] as const

const lockHolder = { owner: 'o', boot_id: 'b', fence: 1 }

const effectOf = ({ executor_id, epoch, fence }: Target) => {
  return { executor_id, epoch, fence, begin_id: 'b' }
}

/** Who may do what, by DESIGN 7; everybody else is refused. A route that is not here fails by its name. */
const table: Record<string, Row> = {
  'GET /health/live': { roles: 'anyone' },
  'GET /health/ready': { roles: 'anyone' },
  'GET /health/active': { roles: 'anyone' },
  'GET /metrics': { roles: 'anyone' },
  'GET /v1/leader': { roles: readers },
  // Of a term to come: whoever may do it is answered, and this one leads on.
  'POST /v1/leader/step-down': { roles: ['operator', 'admin'], body: () => ({ term: 1e9 }) },
  'GET /v1/audit': { roles: readers },
  'GET /v1/status': { roles: readers },
  'POST /v1/jobs': { roles: submitters, body: () => ({ kind: 'x' }) },
  'POST /v1/jobs/batch': { roles: submitters, body: () => ({ jobs: [{ kind: 'x' }] }) },
  // Of jobs that nobody has: whoever may do it is answered, and nothing changes.
  'POST /v1/jobs/bulk': {
    roles: ['operator', 'admin'],
    body: () => ({ action: 'retry', filter: { queue: 'nobodys' } }),
  },
  'GET /v1/jobs': { roles: ['submit', ...readers] },
  'GET /v1/jobs/{id}': { roles: ['submit', ...readers] },
  'POST /v1/jobs/{id}/retry': { roles: submitters, body: () => ({}) },
  'GET /v1/jobs/{id}/attempts': { roles: ['submit', ...readers] },
  'GET /v1/jobs/{id}/explain': { roles: ['submit', ...readers] },
  'GET /v1/jobs/{id}/effects': { roles: ['submit', ...readers] },
  'POST /v1/jobs/{id}/effects/{key}/begin': { roles: ['executor', 'admin'], body: effectOf },
  'POST /v1/jobs/{id}/effects/{key}/commit': { roles: ['executor', 'admin'], body: effectOf },
  'POST /v1/jobs/{id}/effects/{key}/abort': { roles: ['executor', 'admin'], body: effectOf },
  'POST /v1/jobs/{id}/effects/{key}/resolve': {
    roles: ['operator', 'admin'],
    body: () => ({ outcome: 'aborted', note: 'n' }),
  },
  'POST /v1/jobs/{id}/cancel': { roles: submitters, body: () => ({}) },
  'POST /v1/jobs/{id}/critical': {
    roles: ['executor', 'admin'],
    body: ({ executor_id, epoch, fence }) => ({ executor_id, epoch, fence, enter: true }),
  },
  'GET /v1/jobs/{id}/moves': { roles: ['submit', ...readers] },
  'POST /v1/jobs/{id}/transition': {
    roles: ['operator', 'admin'],
    body: () => ({ expected_stage: 'a', to: 'b' }),
  },
  'POST /v1/jobs/{id}/transition/begin': {
    roles: ['operator', 'admin'],
    body: () => ({ expected_stage: 'a', owner: 'o', boot_id: 'b' }),
  },
  'POST /v1/jobs/{id}/transition/commit': {
    roles: ['operator', 'admin'],
    body: () => ({ token: '01890a5d-ac96-774b-bcce-b302099a8057', to: 'b' }),
  },
  'POST /v1/jobs/{id}/transition/abandon': {
    roles: ['operator', 'admin'],
    body: () => ({ force: true, note: 'n' }),
  },
  'POST /v1/executors/register': {
    roles: ['executor', 'admin'],
    body: ({ executor_id }) => ({ executor_id, queues: ['mine', 'theirs'] }),
  },
  'POST /v1/executors/{id}/heartbeat': {
    roles: ['executor', 'admin'],
    body: ({ epoch, job_id, fence }) => ({ epoch, assignments: [{ job_id, fence }] }),
  },
  'POST /v1/executors/{id}/poll': {
    roles: ['executor', 'admin'],
    body: ({ epoch }) => ({ epoch, wait_ms: 0 }),
  },
  'POST /v1/executors/{id}/report': {
    roles: ['executor', 'admin'],
    body: ({ epoch, job_id, fence }) => ({
      epoch,
      reports: [{ job_id, fence, outcome: 'succeeded' }],
    }),
  },
  'POST /v1/executors/{id}/drain': {
    roles: ['executor', 'operator', 'admin'],
    body: ({ epoch }) => ({ epoch }),
  },
  'POST /v1/executors/{id}/clear': { roles: ['operator', 'admin'], body: () => ({}) },
  // The last that its epoch is good for.
  'POST /v1/executors/{id}/deregister': {
    roles: ['executor', 'operator', 'admin'],
    body: ({ epoch }) => ({ epoch }),
  },
  'GET /v1/executors/{id}/history': { roles: ['executor', ...readers] },
  'GET /v1/executors': { roles: readers },
  'GET /v1/executors/{id}': { roles: ['executor', ...readers] },
  'POST /v1/locks/{name}/acquire': {
    roles: ['operator', 'admin'],
    body: () => ({ owner: 'o', boot_id: 'b', ttl_ms: 1_000 }),
  },
  'POST /v1/locks/{name}/renew': { roles: ['operator', 'admin'], body: () => lockHolder },
  'POST /v1/locks/{name}/release': { roles: ['operator', 'admin'], body: () => lockHolder },
  'POST /v1/locks/{name}/force-release': {
    roles: ['operator', 'admin'],
    body: () => ({ note: 'n' }),
  },
  'GET /v1/locks': { roles: readers },
  'GET /v1/locks/{name}': { roles: readers },
  'POST /v1/tokens': { roles: ['admin'], body: () => ({ name: 'x', role: 'read' }) },
  'GET /v1/tokens': { roles: readers },
  'DELETE /v1/tokens/{id}': { roles: ['admin'] },
}

/** Every route of the API document; a GET answers HEAD, too. */
async function listRoutes(api: Api): Promise<string[]> {
  const { paths } = (await (await fetch(`${api.url}/docs/json`)).json()) as { paths: object }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods as object).map((method) => `${method.toUpperCase()} ${path}`),
  )
}

function call(api: Api, route: string, target: Target, headers = {}): Promise<Answer> {
  const [method = '', path = ''] = route.split(' ')
  const ids = { jobs: target.job_id, executors: target.executor_id, tokens: '0'.repeat(16) }
  const [, , noun = ''] = path.split('/')
  const filled = path
    .replace('{id}', ids[noun as keyof typeof ids])
    .replace('{key}', 'k')
    .replace('{name}', 'n')
  const body = table[route.replace('HEAD', 'GET')]?.body?.(target)
  return api.request(method, filled, body, { headers })
}

async function createToken(api: Api, body: object): Promise<{ id: string; token: string }> {
  return (await api.must(201, api.post('/v1/tokens', { name: 'test', ...body }))).body
}

/** An executor that holds a job. */
async function prepare(api: Api, executor_id: string, queues: string[]): Promise<Target> {
  const epoch = await api.register(executor_id, { queues })
  const job = await api.submit({ queue: queues.at(-1) })
  const [assignment] = await api.poll(executor_id, epoch)
  return { executor_id, epoch, job_id: job.id, fence: assignment?.fence ?? 0 }
}

/** Everything that somebody could have changed. */
async function snapshot(): Promise<unknown[]> {
  const tables = await db.sql<{ name: string }>(
    `SELECT quote_ident(table_name) AS name FROM information_schema.tables
      WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
        AND table_name NOT IN ('leader', 'replicas', 'terms') ORDER BY 1`,
  )
  return await Promise.all(
    tables.map(async ({ name }) => [
      name,
      await db.sql(`SELECT * FROM ${name} t ORDER BY t::text`),
    ]),
  )
}

test('every route of the document is in the table of roles, and nothing else is', async () => {
  const { api } = await startActive(db, env)
  const routes = await listRoutes(api)
  expect(routes.filter((route) => !(route in table))).toEqual([])
  expect(Object.keys(table).filter((route) => !routes.includes(route))).toEqual([])
})

test('every route × no token, bad tokens and every role: served, 401 or 403, and a refusal changes nothing', async () => {
  const { api } = await startActive(db, env)
  const target = await prepare(api, 'mine', ['mine'])
  const revoked = await createToken(api, { role: 'admin' })
  await api.must(200, api.request('DELETE', `/v1/tokens/${revoked.id}`))
  const clients: [Role | 'nobody', Api][] = [
    ['nobody', api.as(undefined)],
    ['nobody', api.as('wrong')],
    ['nobody', api.as(`ust_${'0'.repeat(16)}_${'x'.repeat(43)}`)],
    ['nobody', api.as(revoked.token)],
  ]
  for (const role of roles) clients.push([role, api.as((await createToken(api, { role })).token)])
  const gets = (await listRoutes(api)).filter((route) => route.startsWith('GET'))
  const routes = [...Object.keys(table), ...gets.map((route) => route.replace('GET', 'HEAD'))]
  const calls = routes.flatMap((route) => {
    const allowed = table[route.replace('HEAD', 'GET')]?.roles ?? []
    return clients.map(([role, client]) => ({
      name: `${role}: ${route}`,
      send: () => call(client, route, target),
      expected:
        allowed === 'anyone' || allowed.includes(role as Role)
          ? 'served'
          : role === 'nobody'
            ? 401
            : 403,
    }))
  })
  const before = await snapshot()
  for (const { name, send, expected } of calls.filter((each) => each.expected !== 'served')) {
    expect([name, (await send()).status]).toEqual([name, expected])
  }
  expect(await snapshot()).toEqual(before)
  for (const { name, send } of calls.filter(({ expected }) => expected === 'served')) {
    const { status } = await send()
    expect([name, status, [401, 403].includes(status) || status >= 500]).toEqual([
      name,
      status,
      false,
    ])
  }
})

test.each([
  ['its id', { executor_id: 'one' }, 'one', ['two', 'one-more', 'on', 'absent']],
  ['a prefix', { executor_id: 'gpu-*' }, 'gpu-1', ['two', 'gpu', 'my-gpu-1', 'absent']],
  ['queues', { queues: ['mine'] }, 'one', ['two']],
])(
  'an executor’s token that is bound to %s acts for no other, on any route',
  async (_to, binding, own, foreign) => {
    const { api } = await startActive(db, env)
    const targets = new Map<string, Target>()
    for (const id of [...foreign, own]) {
      const queues = id === own ? ['mine'] : ['mine', 'theirs']
      if (id !== 'absent') targets.set(id, await prepare(api, id, queues))
    }
    const stray = { ...(targets.get('two') as Target), executor_id: 'absent' }
    const bound = api.as((await createToken(api, { role: 'executor', ...binding })).token)
    const routes = Object.keys(table).filter(
      (route) => !route.endsWith('abort') && table[route]?.roles.includes('executor'),
    )
    expect(routes.length).toBeGreaterThanOrEqual(7)
    const before = await snapshot()
    for (const route of routes) {
      for (const id of foreign) {
        const answer = await call(bound, route, targets.get(id) ?? stray)
        expect([route, id, answer.status]).toEqual([route, id, 403])
        expect(answer.body).toMatchObject({ code: 'forbidden' })
        expect(answer.body.detail).not.toContain('theirs')
      }
    }
    expect(await snapshot()).toEqual(before)
    for (const route of routes.filter((route) => route.includes('{id}'))) {
      const { status } = await call(bound, route, targets.get(own) as Target)
      expect([route, status]).toEqual([route, 200])
    }
  },
)

test('for a token that is bound to queues, a job of another queue is one that does not exist', async () => {
  const { api } = await startActive(db, env)
  const theirs = await prepare(api, 'three', ['theirs'])
  const absent = { ...theirs, job_id: '01890a5d-ac96-774b-bcce-b302099a8057' }
  const bound = api.as((await createToken(api, { role: 'submit', queues: ['mine'] })).token)
  const routes = Object.keys(table).filter(
    (route) => route.includes('/v1/jobs/{id}') && table[route]?.roles.includes('submit'),
  )
  expect(routes.length).toBeGreaterThanOrEqual(2)
  const told = async (route: string, target: Target) => {
    const { status, headers, body } = await call(bound, route, target, { 'x-request-id': 'same' })
    const told = { status, headers: [...headers].filter(([name]) => name !== 'date'), body }
    return JSON.stringify(told).replaceAll(target.job_id, 'ID')
  }
  const before = await snapshot()
  for (const route of [...routes, ...routes.map((each) => each.replace('GET', 'HEAD'))]) {
    const answer = await told(route, theirs)
    expect(answer).toContain('"status":404')
    expect(answer).toBe(await told(route, absent))
  }
  expect(await snapshot()).toEqual(before)
  for (const route of routes) expect((await call(api, route, theirs)).status).not.toBe(404)
})
