import {
  Executor,
  ExecutorList,
  ExecutorParams,
  Heartbeat,
  HeartbeatAnswer,
  Poll,
  PollAnswer,
  Register,
  Registered,
  Report,
  ReportAnswer,
} from '../../contract/executors.ts'
import { access, authorizeAct, authorizeExecutor, authorizeQueues } from '../auth.ts'
import { goneController } from '../gone.ts'
import { logJobs } from '../job-events.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['executors']

export function executorRoutes(app: Scope, services: Services): void {
  registerRoute(app, services)
  heartbeatRoute(app, services)
  pollRoute(app, services)
  reportRoute(app, services)
  readRoutes(app, services)
}

const config = { access: access.act }

function registerRoute(app: Scope, { executors }: Services): void {
  app.post(
    '/v1/executors/register',
    {
      config,
      schema: {
        tags,
        operationId: 'registerExecutor',
        summary: 'Announce an executor process; raises its epoch',
        description:
          'What an older process of this id held is taken back at once, and its epoch gets 409 stale_epoch from then on. Durations are the server’s to set.',
        body: Register,
        response: {
          201: answer('Registered, under a new epoch.', Registered),
          ...problems(409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      authorizeExecutor(request.principal, request.body.executor_id)
      authorizeQueues(request.principal, request.body.queues)
      return reply.code(201).send(await executors.register(request.body))
    },
  )
}

function heartbeatRoute(app: Scope, { heartbeats, directory }: Services): void {
  app.post(
    '/v1/executors/:id/heartbeat',
    {
      config: { access: access.beat },
      schema: {
        tags,
        operationId: 'heartbeat',
        summary: 'Say what is held; leases that are listed are renewed',
        params: ExecutorParams,
        body: Heartbeat,
        response: {
          200: answer('What is held, and what is not.', HeartbeatAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request) => {
      await authorizeAct(request.principal, request.params.id, directory)
      return heartbeats.beat(request.params.id, request.body)
    },
  )
}

function pollRoute(app: Scope, { polls, directory, tokens }: Services): void {
  app.post(
    '/v1/executors/:id/poll',
    {
      config,
      schema: {
        tags,
        operationId: 'poll',
        summary: 'Ask for work, and wait for it',
        description:
          'One waits at a time: a newer poll ends an older one, empty. After a lost answer send the same poll_id.',
        params: ExecutorParams,
        body: Poll,
        response: {
          200: answer('Work, or none within the wait.', PollAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      await authorizeAct(request.principal, request.params.id, directory)
      const { principal, params, body } = request
      const assignments = await tokens.whileValid(principal, goneController(reply), (gone) =>
        polls.poll(params.id, body, gone),
      )
      logJobs(request.log, 'job assigned', () =>
        assignments.map(({ job_id, fence, attempt }) => {
          return { job_id, executor_id: params.id, fence, attempt }
        }),
      )
      return { assignments }
    },
  )
}

function reportRoute(app: Scope, { reports, directory }: Services): void {
  app.post(
    '/v1/executors/:id/report',
    {
      config,
      schema: {
        tags,
        operationId: 'report',
        summary: 'Say how assignments ended',
        description: 'Each item is answered by itself; send it again until it is.',
        params: ExecutorParams,
        body: Report,
        response: {
          200: answer('One result for each report, in order.', ReportAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request) => {
      const { principal, params, body } = request
      await authorizeAct(principal, params.id, directory)
      const results = await reports.report(params.id, body)
      logJobs(request.log, 'job reported', () =>
        results.map(({ job_id, status, reason, job_state }, index) => {
          const { fence = 0, outcome = '' } = body.reports[index] ?? {}
          return { job_id, executor_id: params.id, fence, outcome, status, reason, job_state }
        }),
      )
      return { results }
    },
  )
}

function readRoutes(app: Scope, { executors }: Services): void {
  app.get(
    '/v1/executors',
    {
      config: { access: access.read },
      schema: {
        tags,
        operationId: 'listExecutors',
        summary: 'List executors',
        response: { 200: answer('Every executor.', ExecutorList), ...problems() },
      },
    },
    async () => ({ executors: await executors.list() }),
  )
  app.get(
    '/v1/executors/:id',
    {
      config: { access: access.readExecutor },
      schema: {
        tags,
        operationId: 'getExecutor',
        summary: 'Get an executor',
        params: ExecutorParams,
        response: { 200: answer('The executor.', Executor), ...problems(404) },
      },
    },
    async ({ principal, params }) => {
      authorizeExecutor(principal, params.id)
      const executor = await executors.get(params.id)
      authorizeQueues(principal, executor.queues)
      return executor
    },
  )
}
