import { JobParams, SubmitCreated, SubmitReplayed } from '../../contract/jobs.ts'
import { JobRetry } from '../../contract/retries.ts'
import { access, actorOf } from '../auth.ts'
import { logJobs } from '../job-events.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

/** New jobs of final ones. */
export function retryRoutes(app: Scope, { retries }: Services): void {
  app.post(
    '/v1/jobs/:id/retry',
    {
      config: { access: access.submit },
      schema: {
        tags: ['jobs'],
        operationId: 'retryJob',
        summary: 'Retry a job that failed or was cancelled, as a new job; audited',
        description:
          'Once per job: asked again, 200 and the job that the first retry made. The new job is what the old one was, with budgets of its own; it inherits the ledger of effects, so that none that was committed is repeated, and the progress; and it takes over the idempotency key, unless another job has that by now. 409 job_not_final: it may still succeed; not_retryable: it has. Served by any replica.',
        params: JobParams,
        body: JobRetry.nullish(),
        response: {
          201: answer('The new job, durable.', SubmitCreated),
          200: answer('The job that retries it already.', SubmitReplayed),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const { params, body, principal, log } = request
      const { job, replayed } = await retries.retry(
        actorOf(request),
        principal,
        params.id,
        body ?? {},
      )
      logJobs(log, replayed ? 'job retried again' : 'job retried', () => [{ job_id: job.id }])
      return replayed ? reply.code(200).send({ job, replayed }) : reply.code(201).send({ job })
    },
  )
}
