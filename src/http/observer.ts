import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode } from '../errors.ts'
import type { Server } from './server.ts'

/** Whoever counts what is answered. */
export interface HttpObserver {
  /** `route` is a pattern; undefined: there is no such route. */
  answered(route: string | undefined, method: string, status: string, ms: number): void
  refused(code: ErrorCode): void
  /** By the gate, before anybody else was asked; each is `refused`, too. */
  turnedAway(code: ErrorCode): void
  connections(open: number): void
}

/** Counts every request once, when its answer is out or its client has hung up; of that one no hook tells. */
export function observeAnswers(app: Server, observer: HttpObserver): void {
  const tell = ({ method, routeOptions }: FastifyRequest, reply: FastifyReply, status: string) =>
    observer.answered(routeOptions.url, method, status, reply.elapsedTime)
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) tell(request, reply, 'hung_up')
    })
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    if (reply.raw.writableFinished) tell(request, reply, String(reply.statusCode))
    done()
  })
}
