import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../errors.ts'

export interface BodyPace {
  /** How long any body may take. */
  graceMs: number
  /** What must have come since, on average, bytes a millisecond. */
  slowest: number
}

/** Cuts a body that comes more slowly than the slowest line that clients are patient with: nobody holds a
 *  connection by sending a byte now and then, and 8 MiB still get through from an edge machine. It runs from
 *  the header on, since a request that was refused unread holds its connection just as well. */
export function cutIfSlow(
  { raw }: FastifyRequest,
  reply: FastifyReply,
  { graceMs, slowest }: BodyPace,
  onCut: () => void,
): void {
  const { 'content-length': length, 'transfer-encoding': coding } = raw.headers
  if (coding === undefined && (length === undefined || length === '0')) return
  const { socket } = raw
  const bytesBefore = socket.bytesRead
  const startedAt = performance.now()
  const leftMs = () =>
    startedAt + graceMs + (socket.bytesRead - bytesBefore) / slowest - performance.now()
  const look = () => {
    if (raw.complete) return
    const ms = leftMs()
    if (ms > 0) {
      timer = setTimeout(look, ms)
    } else if (reply.sent) {
      socket.destroy()
    } else {
      onCut()
      reply.header('Connection', 'close')
      void reply.send(new AppError('request_timeout', 'the body came too slowly'))
    }
  }
  let timer = setTimeout(look, graceMs)
  raw.once('close', () => clearTimeout(timer))
}
