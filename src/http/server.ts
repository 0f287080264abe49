import { randomUUID } from 'node:crypto'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, {
  type FastifyInstance,
  type FastifyRequest,
  LogController,
  type RouteOptions,
} from 'fastify'
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { limits } from '../contract/common.ts'
import { AppError, errorTable } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Principal } from '../services/tokens.ts'
import { type Access, authenticate, authorize } from './auth.ts'
import { BodyParser } from './json-body.ts'
import { openapiInfo, openapiTransforms } from './openapi.ts'
import { invalidRequest, sendProblem, toAppError, type Whereabouts } from './problem.ts'
import { clusterRoutes } from './routes/cluster.ts'
import { executorRoutes } from './routes/executors.ts'
import { healthRoutes } from './routes/health.ts'
import { jobRoutes } from './routes/jobs.ts'
import { tokenRoutes } from './routes/tokens.ts'
import type { Services } from './services.ts'
import { type Standing, standings } from './standing.ts'

export interface ServerOptions {
  services: Services
  standing(): Standing
  /** Why this replica takes no part, where it does not. */
  refusal(): string
  whereabouts(): Whereabouts
  handlerTimeoutMs: number
  log: Log
}

export type Server = ReturnType<typeof createFastify>

function createFastify({ log, handlerTimeoutMs, whereabouts }: ServerOptions) {
  return Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    genReqId: () => randomUUID(),
    requestTimeout: 15_000,
    keepAliveTimeout: 75_000,
    connectionTimeout: handlerTimeoutMs + 15_000,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256, ignoreTrailingSlash: true },
    http: { maxHeaderSize: 16 * 1_024 },
    frameworkErrors: (error, _request, reply) =>
      sendProblem(reply, toAppError(error), whereabouts()),
  }).withTypeProvider<ZodTypeProvider>()
}

/** The server with every route, not yet listening. */
export async function buildServer(options: ServerOptions): Promise<Server> {
  const { services } = options
  const app = createFastify(options)
  const bodies = new BodyParser()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    (_request: FastifyRequest, body: string | Buffer) => bodies.parse(String(body)),
  )
  app.setSerializerCompiler(serializerCompiler)
  app.setValidatorCompiler<z.ZodType>(({ schema }) => (data) => {
    const parsed = schema.safeParse(data)
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(parsed.error) }
  })
  refuseRoutesWithoutAccess(app)
  answerErrors(app, options)
  guard(app, options)
  await app.register(swagger, {
    openapi: openapiInfo,
    ...openapiTransforms,
  })
  await app.register(docsPages)
  for (const routes of [healthRoutes, clusterRoutes, jobRoutes, executorRoutes, tokenRoutes]) {
    await app.register(async (scope) => routes(scope.withTypeProvider<ZodTypeProvider>(), services))
  }
  return app
}

/** The API browser. Its pages hold no data of ours. */
async function docsPages(app: FastifyInstance) {
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, access: { surface: 'live', roles: 'anyone' } }
  })
  await app.register(swaggerUi, { routePrefix: '/docs' })
}

/** Deny by default: the server does not start with a route that nobody thought about. */
function refuseRoutesWithoutAccess(app: Server) {
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => {
    routes.push(route)
  })
  app.addHook('onReady', async () => {
    const open = routes.filter((route) => !route.config?.access)
    if (open.length > 0) {
      throw new Error(`routes without access: ${open.map(({ url }) => url).join(', ')}`)
    }
  })
}

function answerErrors(app: Server, { log, whereabouts, services }: ServerOptions) {
  app.setErrorHandler((error, request, reply) => {
    const problem = toAppError(error)
    const isUnserved = errorTable[problem.code].status === 503
    // Whatever kept it from being answered, at whichever stage, must not cost a lease (invariant 7).
    if (isUnserved && request.routeOptions.config.access?.renewsLeases) services.stalls.note()
    logRefusal(log, request, problem)
    return sendProblem(reply, problem, whereabouts())
  })
  app.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, new AppError('not_found', 'there is no such route'), whereabouts()),
  )
}

/** A refusal that we meant needs no stack; what caused one that we did not mean is the news. */
function logRefusal(log: Log, request: FastifyRequest, problem: AppError) {
  const { code, cause, message } = problem
  const { level } = errorTable[code]
  const route = `${request.method} ${request.routeOptions.url ?? ''}`
  const context = { request_id: request.id, code, detail: message }
  if (cause === undefined) log.debug(context, `${route} refused`)
  else if (code === 'internal') log.error({ ...context, err: cause }, `${route} failed`)
  // Only what the schemas should have refused comes with a cause here.
  else if (code === 'invalid_request') log.warn({ ...context, err: cause }, `${route} refused`)
  else log[level]({ ...context, cause: String(cause) }, `${route} refused`)
}

const nobody: Principal = {
  tokenId: '',
  role: 'read',
  executorPattern: null,
  queues: null,
}

/** The gate first, from memory; then who asks, and whether they may. */
function guard(app: Server, options: ServerOptions) {
  const { services } = options
  app.decorateRequest('principal')
  app.addHook('onRequest', async (request) => {
    request.principal = nobody
    const { access } = request.routeOptions.config
    if (!access) return
    checkGate(access, options)
    if (access.roles === 'anyone') return
    const receivedAt = services.stalls.now()
    request.principal = await authenticate(request, services.tokens)
    if (access.renewsLeases) services.stalls.answered(receivedAt)
    authorize(request.principal, access)
  })
}

function checkGate({ surface }: Access, { standing, refusal }: ServerOptions) {
  const stands = standing()
  const answer = standings[stands][surface]
  if (answer === 'served') return
  throw new AppError(
    answer,
    stands === 'database_refused' ? refusal() : `this replica is ${stands}`,
  )
}
