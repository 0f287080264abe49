import type { FastifyRequest } from 'fastify'

/** Aborts when the client hangs up before it was answered. */
export function goneSignal({ raw }: FastifyRequest): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => gone.abort())
  raw.socket.once('close', () => gone.abort())
  return gone.signal
}
