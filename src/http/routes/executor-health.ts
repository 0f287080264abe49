import {
  Clear,
  Deregister,
  Deregistered,
  Drain,
  Executor,
  ExecutorHistory,
  ExecutorParams,
  HistoryQuery,
} from '../../contract/executors.ts'
import { access, actorOf, authorizeAct, authorizeExecutor, authorizeQueues } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['executors']

/** What executors are to be given, and what became of them. */
export function executorHealthRoutes(app: Scope, services: Services): void {
  drainRoute(app, services)
  clearRoute(app, services)
  deregisterRoute(app, services)
  historyRoute(app, services)
}

const done = { 200: answer('The executor, as it is now.', Executor) }

function drainRoute(app: Scope, { executorHealth, executors, directory }: Services): void {
  app.post(
    '/v1/executors/:id/drain',
    {
      config: { access: access.care },
      schema: {
        tags,
        operationId: 'drainExecutor',
        summary: 'Take no new work and finish what is held; or take work again',
        description:
          'With an epoch the process drains, until it ends: 409 stale_epoch if that is not current. Without one (operators; audited) the executor drains, also after a restart, until enabled is false. Heartbeats tell it; its polls stay empty.',
        params: ExecutorParams,
        body: Drain.nullish(),
        response: { ...done, ...problems(404, 409, 413, 415) },
      },
    },
    async (request) => {
      const { principal, params, body } = request
      await authorizeAct(principal, params.id, directory)
      await executorHealth.drain(actorOf(request), params.id, body ?? {})
      return await executors.get(params.id)
    },
  )
}

function clearRoute(app: Scope, { executorHealth, executors }: Services): void {
  app.post(
    '/v1/executors/:id/clear',
    {
      config: { access: access.repair },
      schema: {
        tags,
        operationId: 'clearExecutor',
        summary: 'Take a degraded or faulty executor for healthy; audited',
        description: 'Its counters start over. A drain stays.',
        params: ExecutorParams,
        body: Clear.nullish(),
        response: { ...done, ...problems(404, 413, 415) },
      },
    },
    async (request) => {
      const { params, body } = request
      await executorHealth.clear(actorOf(request), params.id, body ?? {})
      return await executors.get(params.id)
    },
  )
}

function deregisterRoute(app: Scope, { executorHealth, directory }: Services): void {
  app.post(
    '/v1/executors/:id/deregister',
    {
      config: { access: access.care },
      schema: {
        tags,
        operationId: 'deregisterExecutor',
        summary: 'End the epoch of a process that goes, or that must be cut off',
        description:
          'With an epoch the process says that it goes: what it still holds is given back, and nothing is spent. Without one (operators; audited) whichever process it is is cut off, and what it holds counts as lost. Calls under that epoch get 409 stale_epoch from then on. Sent again it is answered as before.',
        params: ExecutorParams,
        body: Deregister.nullish(),
        response: {
          200: answer('Which epoch has ended.', Deregistered),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request) => {
      const { principal, params, body } = request
      await authorizeAct(principal, params.id, directory)
      return await executorHealth.deregister(actorOf(request), params.id, body ?? {})
    },
  )
}

function historyRoute(app: Scope, { executorHealth, executors }: Services): void {
  app.get(
    '/v1/executors/:id/history',
    {
      config: { access: access.readExecutor },
      schema: {
        tags,
        operationId: 'listExecutorChanges',
        summary: 'How an executor was, newest first: the last 1000 changes',
        params: ExecutorParams,
        querystring: HistoryQuery,
        response: { 200: answer('A page of its history.', ExecutorHistory), ...problems(404) },
      },
    },
    async ({ principal, params, query }) => {
      authorizeExecutor(principal, params.id)
      const { queues } = await executors.get(params.id)
      authorizeQueues(principal, queues)
      return await executorHealth.history(params.id, query)
    },
  )
}
