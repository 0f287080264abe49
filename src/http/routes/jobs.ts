import { limits } from '../../contract/common.ts'
import {
  AttemptList,
  BatchAnswer,
  BatchSubmit,
  JobAnswer,
  JobList,
  JobListQuery,
  JobParams,
  JobQuery,
  JobSubmit,
  SubmitCreated,
  SubmitHeaders,
  SubmitReplayed,
  TraceHeaders,
  Traceparent,
} from '../../contract/jobs.ts'
import { access, authorizeQueues } from '../auth.ts'
import { goneController } from '../gone.ts'
import { withKey } from '../idempotency-key.ts'
import { logJobs } from '../job-events.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['jobs']

export function jobRoutes(app: Scope, services: Services): void {
  submitRoute(app, services)
  batchRoute(app, services)
  listRoute(app, services)
  getRoutes(app, services)
}

function submitRoute(app: Scope, { jobs }: Services): void {
  app.post(
    '/v1/jobs',
    {
      bodyLimit: limits.submitBodyBytes,
      config: { access: access.submit },
      schema: {
        tags,
        operationId: 'submitJob',
        summary: 'Submit a job',
        description:
          '201 once the job is durable. With an idempotency key that is taken: 200 and the existing job, or 409 idempotency_mismatch if its body was another. Served by any replica.',
        headers: SubmitHeaders,
        body: JobSubmit,
        response: {
          201: answer('Made, and durable.', SubmitCreated),
          200: answer('The job that has this key.', SubmitReplayed),
          ...problems(409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const { headers } = request
      const submit = withTrace(withKey(request.body, headers['idempotency-key']), traceOf(headers))
      authorizeQueues(request.principal, [submit.queue])
      const answer = await jobs.submit(submit)
      logJobs(request.log, answer.replayed ? 'job submitted again' : 'job submitted', () => [
        { job_id: answer.job.id },
      ])
      return answer.replayed
        ? reply.code(200).send({ ...answer, replayed: true })
        : reply.code(201).send({ job: answer.job })
    },
  )
}

function batchRoute(app: Scope, { jobs }: Services): void {
  app.post(
    '/v1/jobs/batch',
    {
      config: { access: access.submit },
      schema: {
        tags,
        operationId: 'submitJobs',
        summary: 'Submit up to 1000 jobs, all or nothing',
        description: 'Results in the order of the jobs; created: false for a key that was taken.',
        headers: TraceHeaders,
        body: BatchSubmit,
        response: {
          200: answer('One result for each job, in order.', BatchAnswer),
          ...problems(409, 413, 415),
        },
      },
    },
    async (request) => {
      const trace = traceOf(request.headers)
      const submits = request.body.jobs.map((job) => withTrace(job, trace))
      authorizeQueues(
        request.principal,
        submits.map(({ queue }) => queue),
      )
      const answer = await jobs.submitBatch(submits)
      logJobs(request.log, 'job submitted', () =>
        answer.results.filter(({ created }) => created).map(({ id }) => ({ job_id: id })),
      )
      return answer
    },
  )
}

function listRoute(app: Scope, { jobs }: Services): void {
  app.get(
    '/v1/jobs',
    {
      config: { access: access.readJobs },
      schema: {
        tags,
        operationId: 'listJobs',
        summary: 'List jobs, newest first',
        description: '`label=name=value`, repeated for several. Without payload, result, progress.',
        querystring: JobListQuery,
        response: { 200: answer('A page of jobs.', JobList), ...problems() },
      },
    },
    (request) => jobs.list(request.query, request.principal),
  )
}

function getRoutes(app: Scope, { jobs, tokens }: Services): void {
  app.get(
    '/v1/jobs/:id',
    {
      config: { access: access.readJobs },
      schema: {
        tags,
        operationId: 'getJob',
        summary: 'Get a job, or wait for its end with wait_ms',
        params: JobParams,
        querystring: JobQuery,
        response: { 200: answer('The job.', JobAnswer), ...problems(404) },
      },
    },
    async (request, reply) => {
      const { params, principal } = request
      const { wait_ms = 0 } = request.query
      if (wait_ms === 0) return { job: await jobs.get(params.id, principal) }
      const job = await tokens.whileValid(principal, goneController(reply), (gone) =>
        jobs.getSettled(params.id, principal, wait_ms, gone),
      )
      return { job }
    },
  )
  app.get(
    '/v1/jobs/:id/attempts',
    {
      config: { access: access.readJobs },
      schema: {
        tags,
        operationId: 'listAttempts',
        summary: 'How the leases of a job ended, and which reports came too late',
        params: JobParams,
        response: {
          200: answer('Leases that ended, oldest first.', AttemptList),
          ...problems(404),
        },
      },
    },
    (request) => jobs.listAttempts(request.params.id, request.principal),
  )
}

function traceOf({ traceparent }: { traceparent?: string | undefined }): string | undefined {
  return Traceparent.safeParse(traceparent).data
}

/** What a job says of its trace comes first. */
function withTrace(body: JobSubmit, traceparent: string | undefined): JobSubmit {
  return traceparent === undefined ? body : { traceparent, ...body }
}
