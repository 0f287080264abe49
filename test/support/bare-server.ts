import { buildServer, type Server } from '../../src/http/server.ts'
import type { Services } from '../../src/http/services.ts'
import { createLog } from '../../src/log.ts'
import { handlerTimeoutMs } from '../../src/timings.ts'

const nothing = () => undefined

/** The server with every route, for what can be told of them without a call: it has no services. */
export function buildBareServer(): Promise<Server> {
  return buildServer({
    services: {} as Services,
    standing: () => 'standby',
    refusal: () => '',
    whereabouts: () => ({ role: 'standby', term: 0, active_url: undefined }),
    observer: { answered: nothing, refused: nothing, turnedAway: nothing, connections: nothing },
    expose: async () => ({ contentType: '', text: '' }),
    handlerTimeoutMs,
    maxConnections: 10,
    log: createLog('silent'),
  })
}
