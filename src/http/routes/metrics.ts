import { z } from 'zod'
import { access } from '../auth.ts'
import type { Scope } from '../scope.ts'

export interface Exposition {
  contentType: string
  text: string
}

/** From memory, without a token and without the database. */
export function metricsRoute(app: Scope, expose: () => Promise<Exposition>): void {
  app.get(
    '/metrics',
    {
      config: { access: access.live },
      schema: {
        operationId: 'getMetrics',
        tags: ['health'],
        summary: 'For Prometheus',
        description:
          'Every metric is in docs/metrics.md. 404 where UNDERSTUDY_METRICS_PORT gives metrics a port of their own.',
        security: [],
        response: {
          200: {
            description: 'The text format of Prometheus.',
            content: { 'text/plain': { schema: z.string() } },
          },
        },
      },
    },
    async (_request, reply) => {
      const { contentType, text } = await expose()
      return reply.header('Cache-Control', 'no-store').type(contentType).send(text)
    },
  )
}
