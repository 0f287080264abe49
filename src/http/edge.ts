import { randomUUID } from 'node:crypto'
import type { ServerOptions as HttpOptions, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { limits } from '../contract/common.ts'
import { AppError, type ErrorCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ConnectionLimits, Connections } from './connections.ts'
import { problemMedia, toProblem, type Whereabouts } from './problem.ts'
import type { BodyPace } from './slow-bodies.ts'

/** What anybody may take of this server, known or not: docs/http.md. */
export interface EdgeLimits extends ConnectionLimits {
  /** From a connection's opening, or a request's first byte, to the end of its header. */
  headersMs: number
  bodyPace: BodyPace
  /** A connection on which nothing moves, neither way, though a request is under way. */
  silentMs: number
  /** A connection between two requests. */
  keepAliveMs: number
  /** How often Node looks for requests that take too long. */
  lookMs: number
}

/** The balancer's own idle time must be shorter than `keepAliveMs`, or it sends a request on a connection that
 *  is being closed. */
export const edgeDefaults: Omit<EdgeLimits, 'maxConnections' | 'silentMs'> = {
  headersMs: 10_000,
  bodyPace: { graceMs: 15_000, slowest: 32 },
  keepAliveMs: 75_000,
  lookMs: 1_000,
  spareConnections: 64,
  spareMs: 2_000,
  maxUnanswered: 64,
}

export const maxHeaderBytes = 16 * 1_024
export const maxParamLength = 256

/** The largest body, at the slowest pace. */
export function requestMs({ headersMs, bodyPace: { graceMs, slowest } }: EdgeLimits): number {
  return headersMs + graceMs + Math.ceil(limits.bodyBytes / slowest)
}

export function httpOptions({ headersMs, lookMs }: EdgeLimits): HttpOptions {
  return {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headersMs,
    connectionsCheckingInterval: lookMs,
    // Lenient parsing is how one request is smuggled in another.
    insecureHTTPParser: false,
    // Refused by us, as a problem.
    requireHostHeader: false,
  }
}

/** Node reads HTTP/0.9, too, which has no headers. */
export function isHttp1({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.0' || (httpVersion === '1.1' && headers.host !== undefined)
}

/** The caller's, so that both logs can be read together; else one of ours. */
export function requestId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id']
  return typeof given === 'string' && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID()
}

const jsonType = /^application\/json(?:; ?charset=utf-8)?$/i

/** Compared as a whole, before anything takes it apart: what a lenient reader makes of a strange type is how
 *  validation was passed by (CVE-2025-32442, CVE-2026-25223, -3419, -33806). */
export function requireJson({ method, headers }: Pick<IncomingMessage, 'method' | 'headers'>) {
  if (method === 'GET' || method === 'HEAD') return
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': coding } = headers
  const hasBody = coding !== undefined || (length !== undefined && length !== '0')
  if (type === undefined ? hasBody : !jsonType.test(type)) {
    throw new AppError('unsupported_media_type', 'send application/json')
  }
}

const clientErrors: Record<string, [ErrorCode, string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'the request did not come in time'],
  HPE_HEADER_OVERFLOW: ['headers_too_large', `at most ${maxHeaderBytes} bytes of header`],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['payload_too_large', 'too many chunk extensions'],
}

/** Answers what is no HTTP request, where an answer can be sent, and closes its connection. Neither is any of
 *  it logged: it may hold a token. */
export function clientErrorHandler(
  log: Log,
  connections: Connections,
  whereabouts: () => Whereabouts,
) {
  return (error: NodeJS.ErrnoException, socket: Socket): void => {
    const { code = 'unknown' } = error
    // What follows the last request of a connection, or its head, is not read; that one is answered.
    const isAnswered = code.startsWith('HPE_') && connections.isClosing(socket)
    if (isAnswered || code === 'HPE_CLOSED_CONNECTION') return
    if (code === 'ECONNRESET' || !socket.writable || !connections.awaitsRest(socket)) {
      socket.destroy()
      return
    }
    const [name, detail] = clientErrors[code] ?? ['invalid_request', 'this is not HTTP/1.1']
    const id = randomUUID()
    log.debug({ request_id: id, code: name, parser_code: code }, 'a malformed request')
    const { problem, headers } = toProblem(new AppError(name, detail), id, whereabouts())
    const body = JSON.stringify(problem)
    const head = Object.entries({
      ...headers,
      'Content-Type': problemMedia,
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    }).map(([header, value]) => `${header}: ${value}\r\n`)
    socket.write(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${head.join('')}\r\n${body}`)
    socket.destroySoon()
  }
}
