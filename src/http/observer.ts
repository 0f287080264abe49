import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AppError, ErrorCode } from '../errors.ts'
import type { Server } from './server.ts'
import { standings } from './standing.ts'

/** Whoever counts what is answered. */
export interface HttpObserver {
  /** `route` is a pattern; undefined: there is no such route. */
  answered(route: string | undefined, method: string, status: string, ms: number): void
  refused(code: ErrorCode, isByGate: boolean): void
  connections(open: number): void
}

const gateCodes = new Set<string>(Object.values(standings).flatMap((row) => Object.values(row)))

/** The gate answers from memory: a refusal that something caused comes from further in. A probe that is told
 *  no got what it asked for. */
export function tellRefused(
  observer: HttpObserver,
  { code, cause }: AppError,
  { routeOptions }: FastifyRequest,
): void {
  const { surface } = routeOptions.config.access ?? {}
  const isProbe = surface === 'ready' || surface === 'active'
  observer.refused(code, !isProbe && cause === undefined && gateCodes.has(code))
}

/** Counts every request once, when its answer is out or its client has hung up; of that one no hook tells. */
export function observeAnswers(app: Server, observer: HttpObserver): void {
  const tell = ({ method, routeOptions }: FastifyRequest, reply: FastifyReply, status: string) =>
    observer.answered(routeOptions.url, method, status, reply.elapsedTime)
  app.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) tell(request, reply, 'hung_up')
    })
  })
  app.addHook('onResponse', async (request, reply) => {
    if (reply.raw.writableFinished) tell(request, reply, String(reply.statusCode))
  })
}
