import { BulkAnswer, BulkRequest } from '../../contract/bulk.ts'
import { access, actorOf } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

/** Many jobs at once, by filter. */
export function bulkRoutes(app: Scope, { bulk }: Services): void {
  app.post(
    '/v1/jobs/bulk',
    {
      config: { access: access.decide },
      schema: {
        tags: ['jobs'],
        operationId: 'bulkJobs',
        summary: 'Retry or cancel the jobs that fit a filter, or count them with dry_run; audited',
        description:
          'At most 500 jobs in a call, in one transaction, newest first: go on with next_cursor until it is null. Sent again after a lost answer, a call passes over what it did. An empty filter takes confirm: true. Served by any replica.',
        body: BulkRequest,
        response: {
          200: answer('What it did, or would do.', BulkAnswer),
          ...problems(413, 415),
        },
      },
    },
    (request) => bulk.run(actorOf(request), request.principal, request.body),
  )
}
