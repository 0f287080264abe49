import { Health } from '../../contract/cluster.ts'
import { access } from '../auth.ts'
import { answer, refusals } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

/** Probes. They answer from memory, without a token and without the database; HEAD works too. */
export function healthRoutes(app: Scope, { cluster }: Services): void {
  const probes = {
    live: 'The process runs and its event loop turns. Restart it if this fails.',
    ready: 'Can serve clients, as active or standby. Send submits and reads here.',
    active: 'Holds the lock, recovering or active. Send executors here, and nowhere else.',
  } as const
  for (const [probe, description] of Object.entries(probes) as [keyof typeof probes, string][]) {
    app.get(
      `/health/${probe}`,
      {
        config: { access: access[probe] },
        schema: {
          operationId: `get${probe[0]?.toUpperCase()}${probe.slice(1)}`,
          tags: ['health'],
          summary: description,
          description: 'HEAD works too.',
          security: [],
          response: { 200: answer('Yes.', Health), ...refusals(503) },
        },
      },
      async (_request, reply) => {
        reply.header('Cache-Control', 'no-store')
        return cluster.health()
      },
    )
  }
}
