import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, {
  type FastifyInstance,
  type FastifyRequest,
  LogController,
  type RouteOptions,
} from 'fastify'
import { serializerCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { limits } from '../contract/common.ts'
import { AppError, errorTable } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Principal } from '../services/tokens.ts'
import { type Access, authenticate, authorize } from './auth.ts'
import { Connections } from './connections.ts'
import {
  clientErrorHandler,
  type EdgeLimits,
  edgeDefaults,
  httpOptions,
  isHttp1,
  maxParamLength,
  requestId,
  requestMs,
  requireJson,
} from './edge.ts'
import { BodyParser } from './json-body.ts'
import { type HttpObserver, observeAnswers } from './observer.ts'
import { openapiInfo, openapiTransforms } from './openapi.ts'
import { invalidRequest, sendProblem, toAppError, type Whereabouts } from './problem.ts'
import { bulkRoutes } from './routes/bulk.ts'
import { cancelRoutes } from './routes/cancels.ts'
import { clusterRoutes } from './routes/cluster.ts'
import { effectRoutes } from './routes/effects.ts'
import { executorHealthRoutes } from './routes/executor-health.ts'
import { executorRoutes } from './routes/executors.ts'
import { explainRoutes } from './routes/explain.ts'
import { healthRoutes } from './routes/health.ts'
import { jobRoutes } from './routes/jobs.ts'
import { lockRoutes } from './routes/locks.ts'
import { type Exposition, metricsRoute } from './routes/metrics.ts'
import { retryRoutes } from './routes/retries.ts'
import { tokenRoutes } from './routes/tokens.ts'
import { transitionRoutes } from './routes/transitions.ts'
import { seldom } from './seldom.ts'
import type { Services } from './services.ts'
import { cutIfSlow } from './slow-bodies.ts'
import { type Standing, standings } from './standing.ts'

export interface ServerOptions {
  services: Services
  standing(): Standing
  /** Why this replica takes no part, where it does not. */
  refusal(): string
  whereabouts(): Whereabouts
  observer: HttpObserver
  /** Undefined: metrics are not told on this port. */
  expose: (() => Promise<Exposition>) | undefined
  handlerTimeoutMs: number
  maxConnections: number
  /** For tests, which cannot wait as long as clients may. */
  edge?: Partial<EdgeLimits> | undefined
  log: Log
}

export type Server = ReturnType<typeof createFastify>

function createFastify(
  { log, whereabouts, observer }: ServerOptions,
  edge: EdgeLimits,
  connections: Connections,
) {
  return Fastify({
    loggerInstance: log,
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'request_id',
    }),
    bodyLimit: limits.bodyBytes,
    genReqId: requestId,
    requestTimeout: requestMs(edge),
    keepAliveTimeout: edge.keepAliveMs,
    connectionTimeout: edge.silentMs,
    forceCloseConnections: true,
    routerOptions: { maxParamLength, ignoreTrailingSlash: true },
    http: httpOptions(edge),
    clientErrorHandler: clientErrorHandler(log, connections, whereabouts),
    // No hook runs for these, so nothing else would hold their connection to its limits.
    frameworkErrors: (error, request, reply) => {
      const { raw } = request
      const refused = connections.begin(raw) ?? toAppError(error)
      connections.endWith(raw)
      observer.refused(refused.code)
      return sendProblem(reply.header('Connection', 'close'), refused, whereabouts())
    },
  }).withTypeProvider<ZodTypeProvider>()
}

/** Whether a route does without a body. Many clients name the type of one even where they send none. */
function mayBeLeftOut(schema: unknown): boolean {
  return schema instanceof z.ZodType && schema.safeParse(null).success
}

/** The server with every route, not yet listening. */
export async function buildServer(options: ServerOptions): Promise<Server> {
  const { services, handlerTimeoutMs, maxConnections } = options
  const silentMs = handlerTimeoutMs + 15_000
  const edge = { ...edgeDefaults, maxConnections, silentMs, ...options.edge }
  const connections = new Connections(edge, (open) => options.observer.connections(open))
  const app = createFastify(options, edge, connections)
  const bodies = new BodyParser()
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    ({ routeOptions }: FastifyRequest, body: string | Buffer, done) => {
      const text = String(body)
      if (text === '' && mayBeLeftOut(routeOptions.schema?.body)) done(null, null)
      else bodies.parse(text, done)
    },
  )
  app.setSerializerCompiler(serializerCompiler)
  app.setValidatorCompiler<z.ZodType>(({ schema }) => (data) => {
    const parsed = schema.safeParse(data)
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(parsed.error) }
  })
  refuseRoutesWithoutAccess(app)
  answerErrors(app, options)
  const warn = (what: string) => seldom(() => options.log.warn({ maxConnections }, what))
  const tellDrop = warn('connections are closed unheard: spare ones are taken, too')
  connections.guard(app.server, {
    onSpare: warn('all connections are taken: new ones are spare'),
    onDrop() {
      // It may have brought a heartbeat (invariant 7).
      services.stalls.note()
      tellDrop()
    },
  })
  guardConnection(app, connections, edge)
  observeAnswers(app, options.observer)
  guard(app, options, connections)
  await registerRoutes(app, options)
  return app
}

async function registerRoutes(app: Server, { services, expose }: ServerOptions) {
  await app.register(swagger, {
    openapi: openapiInfo,
    ...openapiTransforms,
  })
  await app.register(docsPages)
  for (const routes of [
    healthRoutes,
    clusterRoutes,
    jobRoutes,
    explainRoutes,
    cancelRoutes,
    retryRoutes,
    bulkRoutes,
    effectRoutes,
    executorHealthRoutes,
    executorRoutes,
    lockRoutes,
    tokenRoutes,
    transitionRoutes,
  ]) {
    await app.register(async (scope) => routes(scope.withTypeProvider<ZodTypeProvider>(), services))
  }
  if (expose)
    await app.register(async (scope) =>
      metricsRoute(scope.withTypeProvider<ZodTypeProvider>(), expose),
    )
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

function answerErrors(app: Server, { whereabouts, services, log, observer }: ServerOptions) {
  const tellOverload = seldom(() => log.warn('requests are refused as overloaded'))
  app.setErrorHandler((error, request, reply) => {
    const problem = toAppError(error)
    const isUnserved = errorTable[problem.code].status === 503
    // Whatever kept it from being answered, at whichever stage, must not cost a lease (invariant 7).
    if (isUnserved && request.routeOptions.config.access?.renewsLeases) services.stalls.note()
    if (problem.code === 'overloaded') tellOverload()
    logRefusal(request, problem)
    observer.refused(problem.code)
    return sendProblem(reply, problem, whereabouts())
  })
  app.setNotFoundHandler((_request, reply) => {
    const problem = new AppError('not_found', 'there is no such route')
    observer.refused(problem.code)
    return sendProblem(reply, problem, whereabouts())
  })
}

/** A refusal that we meant needs no stack; what caused one that we did not mean is the news. What exactly
 *  was refused is told to who sent it, and to nobody else: it may quote the request. */
function logRefusal({ log, method, routeOptions, principal }: FastifyRequest, problem: AppError) {
  const { code, cause } = problem
  const { level } = errorTable[code]
  const route = `${method} ${routeOptions.url ?? ''}`
  const context = { token_id: principal?.tokenId || undefined, code }
  // The gate's answer to everybody, from memory: who found the database away has said so.
  if (cause === undefined && code === 'database_unavailable') log.debug(context, `${route} refused`)
  else if (cause === undefined) log[level](context, `${route} refused`)
  else if (code === 'internal') log.error({ ...context, err: cause }, `${route} failed`)
  // Only what the schemas should have refused comes with a cause here.
  else if (code === 'invalid_request') log.warn({ ...context, err: cause }, `${route} refused`)
  else log[level]({ ...context, cause }, `${route} refused`)
}

const nobody: Principal = {
  tokenId: '',
  role: 'read',
  executorPattern: null,
  queues: null,
}

/** What holds whoever asks, and for whatever. */
function guardConnection(app: Server, connections: Connections, { bodyPace }: EdgeLimits) {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('X-Request-Id', request.id)
    const refused = connections.begin(request.raw)
    if (refused) return done(refused)
    const isOdd = !isHttp1(request.raw)
    if (isOdd || connections.isSpare(request.raw.socket)) {
      connections.endWith(request.raw)
      reply.header('Connection', 'close')
    }
    if (isOdd) return done(new AppError('invalid_request', 'send HTTP/1.1 with a Host header'))
    cutIfSlow(request, reply, bodyPace, () => connections.endWith(request.raw))
    done()
  })
  app.addHook('onResponse', ({ raw, log, method, routeOptions }, reply, done) => {
    connections.answered(raw)
    if (log.isLevelEnabled('debug')) {
      const { statusCode: status, elapsedTime } = reply
      log.debug({ status, ms: Math.round(elapsedTime) }, `${method} ${routeOptions.url ?? ''}`)
    }
    done()
  })
}

/** The gate first, from memory; then who asks, and whether they may; then what they send. */
function guard(app: Server, options: ServerOptions, connections: Connections) {
  const { services } = options
  app.decorateRequest('principal')
  app.addHook('onRequest', async (request, reply) => {
    request.principal = nobody
    const { access } = request.routeOptions.config
    if (!access) return
    if (access.roles !== 'anyone' && connections.isSpare(request.raw.socket)) {
      throw new AppError('overloaded', 'this replica has as many connections as it takes')
    }
    checkGate(access, options)
    if (access.surface === 'executor') reply.raw.once('close', services.executorCalls.begin())
    if (access.roles === 'anyone') return
    const receivedAt = services.stalls.now()
    request.principal = await authenticate(request, services.tokens)
    if (access.renewsLeases) services.stalls.answered(receivedAt)
    authorize(request.principal, access)
    requireJson(request.raw)
  })
}

function checkGate({ surface }: Access, { standing, refusal, observer }: ServerOptions) {
  const stands = standing()
  const answer = standings[stands][surface]
  if (answer === 'served') return
  // A probe that is told no got what it asked for.
  if (surface !== 'ready' && surface !== 'active') observer.turnedAway(answer)
  throw new AppError(
    answer,
    stands === 'database_refused' ? refusal() : `this replica is ${stands}`,
  )
}
