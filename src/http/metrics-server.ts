import { createServer, type RequestListener, type Server } from 'node:http'
import type { Log } from '../log.ts'
import type { Exposition } from './routes/metrics.ts'

const mostConnections = 64

/** `/metrics` on a port of its own, and nothing else there: for a network that clients do not reach. */
export function createMetricsServer(expose: () => Promise<Exposition>, log: Log): Server {
  const limits = { headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 75_000 }
  const server = createServer(limits, answer(expose, log))
  server.maxConnections = mostConnections
  return server
}

function answer(expose: () => Promise<Exposition>, log: Log): RequestListener {
  return ({ method, url = '' }, response) => {
    const isKnown = /^\/metrics(?:\?|$)/.test(url) && (method === 'GET' || method === 'HEAD')
    if (!isKnown) return void response.writeHead(404).end()
    expose().then(
      ({ contentType, text }) => {
        response.writeHead(200, { 'Content-Type': contentType, 'Cache-Control': 'no-store' })
        response.end(method === 'HEAD' ? undefined : text)
      },
      (error) => {
        log.error({ err: error }, 'the metrics could not be told')
        response.writeHead(500).end()
      },
    )
  }
}
