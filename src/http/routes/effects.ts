import {
  EffectAbort,
  EffectAnswer,
  EffectBegin,
  EffectBegun,
  EffectCommit,
  EffectList,
  EffectListQuery,
  EffectParams,
  EffectResolve,
} from '../../contract/effects.ts'
import { JobParams } from '../../contract/jobs.ts'
import { access, actorOf, authorizeAct } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['effects']

/** The ledger of irreversible acts: what a job does once, whoever runs it. */
export function effectRoutes(app: Scope, services: Services): void {
  beginRoute(app, services)
  commitRoute(app, services)
  abortRoute(app, services)
  resolveRoute(app, services)
  listRoute(app, services)
}

const config = { access: access.act }
const path = '/v1/jobs/:id/effects/:key'

function beginRoute(app: Scope, { effects, directory }: Services): void {
  app.post(
    `${path}/begin`,
    {
      config,
      schema: {
        tags,
        operationId: 'beginEffect',
        summary: 'Ask whether to do an irreversible act',
        description:
          'proceed: do it, with effect_token as the outside system’s idempotency key, then commit. committed: it was done. in_doubt: an attempt that was lost may have done it; see on_doubt. The same begin_id gets the same answer until the effect is committed or aborted; after its own abort 409 effect_settled. 409 stale_fence and stale_epoch: the job is not yours; cancel_requested: the job is being cancelled, and no critical section puts that off; effect_in_progress: another begin of this lease is under way.',
        params: EffectParams,
        body: EffectBegin,
        response: {
          200: answer('Whether to do it.', EffectBegun),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async ({ params, body, principal }) => {
      await authorizeAct(principal, body.executor_id, directory)
      return await effects.begin({ job_id: params.id, key: params.key }, body)
    },
  )
}

function commitRoute(app: Scope, { effects, directory }: Services): void {
  app.post(
    `${path}/commit`,
    {
      config,
      schema: {
        tags,
        operationId: 'commitEffect',
        summary: 'Record that the act was done',
        description:
          'By the begin that was told to proceed, or to reconcile. Sent again it is answered as the first time. Who has lost the job meanwhile gets 409; what it says is kept as evidence.',
        params: EffectParams,
        body: EffectCommit,
        response: {
          200: answer('The effect.', EffectAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async ({ params, body, principal }) => {
      await authorizeAct(principal, body.executor_id, directory)
      return { effect: await effects.commit({ job_id: params.id, key: params.key }, body) }
    },
  )
}

function abortRoute(app: Scope, { effects, directory }: Services): void {
  app.post(
    `${path}/abort`,
    {
      config,
      schema: {
        tags,
        operationId: 'abortEffect',
        summary: 'Record that the act was not done',
        description:
          'Only where that is certain: it may be begun anew from then on. Otherwise as commit.',
        params: EffectParams,
        body: EffectAbort,
        response: {
          200: answer('The effect.', EffectAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async ({ params, body, principal }) => {
      await authorizeAct(principal, body.executor_id, directory)
      return { effect: await effects.abort({ job_id: params.id, key: params.key }, body) }
    },
  )
}

function resolveRoute(app: Scope, { effects }: Services): void {
  app.post(
    `${path}/resolve`,
    {
      config: { access: access.decide },
      schema: {
        tags,
        operationId: 'resolveEffect',
        summary: 'Say whether an act that is in doubt was done',
        description:
          'Audited. A job that waited for it goes back to the queue. 409 effect_settled: that is known; effect_in_progress: its executor is at it; job_retried: resolve it at the job that retries this one. Served by any replica.',
        params: EffectParams,
        body: EffectResolve,
        response: {
          200: answer('The effect.', EffectAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request) => {
      const { params, body, principal } = request
      const target = { job_id: params.id, key: params.key }
      return { effect: await effects.resolve(actorOf(request), principal, target, body) }
    },
  )
}

function listRoute(app: Scope, { effects }: Services): void {
  app.get(
    '/v1/jobs/:id/effects',
    {
      config: { access: access.readJobs },
      schema: {
        tags,
        operationId: 'listEffects',
        summary: 'The irreversible acts of a job, and what was said of them too late',
        params: JobParams,
        querystring: EffectListQuery,
        response: { 200: answer('A page of its ledger.', EffectList), ...problems(404) },
      },
    },
    (request) => effects.list(request.params.id, request.principal, request.query),
  )
}
