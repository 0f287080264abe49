import { Explanation } from '../../contract/explain.ts'
import { JobParams } from '../../contract/jobs.ts'
import { access } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

/** Why a job is where it is. */
export function explainRoutes(app: Scope, { explanations }: Services): void {
  app.get(
    '/v1/jobs/:id/explain',
    {
      config: { access: access.readJobs },
      schema: {
        tags: ['jobs'],
        operationId: 'explainJob',
        summary: 'Why a job is where it is',
        description:
          'Whatever state it is in; at least one reason. Codes and their facts: docs/explain.md. Served by any replica, also while none is active.',
        params: JobParams,
        response: {
          200: answer('Reasons, the most telling first.', Explanation),
          ...problems(404),
        },
      },
    },
    (request) => explanations.explain(request.params.id, request.principal),
  )
}
