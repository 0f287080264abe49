import { CancelRequest, Critical, CriticalAnswer } from '../../contract/cancels.ts'
import { JobAnswer, JobParams } from '../../contract/jobs.ts'
import { access, authorizeAct } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

export function cancelRoutes(app: Scope, services: Services): void {
  cancelRoute(app, services)
  criticalRoute(app, services)
}

function cancelRoute(app: Scope, { cancels }: Services): void {
  app.post(
    '/v1/jobs/:id/cancel',
    {
      config: { access: access.submit },
      schema: {
        tags: ['jobs'],
        operationId: 'cancelJob',
        summary: 'Ask for the end of a job',
        description:
          'A job that nobody holds is cancelled at once. The executor of one that is leased is told to stop with its next heartbeat; until it has answered, or its grace has passed, the job is leased and shows cancel_requested_at. A success that is reported first wins. Asked again it is answered the same; 409 already_final: it has succeeded or failed.',
        params: JobParams,
        body: CancelRequest.nullish(),
        response: { 200: answer('The job.', JobAnswer), ...problems(404, 409, 413, 415) },
      },
    },
    async ({ params, body, principal }) => ({
      job: await cancels.cancel(params.id, principal, body ?? {}),
    }),
  )
}

function criticalRoute(app: Scope, { cancels, directory }: Services): void {
  app.post(
    '/v1/jobs/:id/critical',
    {
      config: { access: access.act },
      schema: {
        tags: ['executors'],
        operationId: 'markCritical',
        summary: 'Begin or end a stretch that must not be interrupted',
        description:
          'A cancel waits for its end, up to its ceiling, which asking again does not move. The end is answered with the cancel that has waited. 409 cancel_requested: a cancel was there first, no section begins; stale_fence and stale_epoch: the job is not yours.',
        params: JobParams,
        body: Critical,
        response: {
          200: answer('The section.', CriticalAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async ({ params, body, principal }) => {
      await authorizeAct(principal, body.executor_id, directory)
      return await cancels.critical(params.id, body)
    },
  )
}
