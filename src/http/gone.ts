import type { FastifyReply } from 'fastify'

/** Aborts when the client hangs up before it was answered. (The request's own `close` comes as soon as
 *  its body was read, and the socket outlives many requests.) */
export function goneController({ raw }: FastifyReply): AbortController {
  const gone = new AbortController()
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort()
  })
  if (raw.destroyed) gone.abort()
  return gone
}
