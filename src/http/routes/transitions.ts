import { JobAnswer, JobParams } from '../../contract/jobs.ts'
import {
  MoveList,
  MoveListQuery,
  Transition,
  TransitionAbandon,
  TransitionAnswer,
  TransitionBegin,
  TransitionBegun,
  TransitionCommit,
  TransitionHeaders,
} from '../../contract/transitions.ts'
import { access, actorOf } from '../auth.ts'
import { withKey } from '../idempotency-key.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['stages']

/** Moves of jobs between their stages that outside actors make: decisions, corrections, work of their own. */
export function transitionRoutes(app: Scope, services: Services): void {
  transitionRoute(app, services)
  beginRoute(app, services)
  commitRoute(app, services)
  abandonRoute(app, services)
  listRoute(app, services)
}

const config = { access: access.decide }
const path = '/v1/jobs/:id/transition'

function transitionRoute(app: Scope, { transitions }: Services): void {
  app.post(
    path,
    {
      config,
      schema: {
        tags,
        operationId: 'transitionJob',
        summary: 'Move a job to another stage: approve, advance, or send back',
        description:
          'Only while no executor works on it. Of any number of callers one moves it; the others get 409 stage_mismatch, with where it is in `facts`. 409 job_leased, job_final, cancel_requested, effect_in_doubt, transition_owned. The same idempotency_key is answered as the first time. Audited. Served by any replica.',
        headers: TransitionHeaders,
        params: JobParams,
        body: Transition,
        response: {
          200: answer('The job, and the move.', TransitionAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    (request) => {
      const { headers, params } = request
      const body = withKey(request.body, headers['idempotency-key'])
      return transitions.transition(actorOf(request), params.id, body)
    },
  )
}

function beginRoute(app: Scope, { transitions }: Services): void {
  app.post(
    `${path}/begin`,
    {
      config,
      schema: {
        tags,
        operationId: 'beginTransition',
        summary: 'Own the next move of a job before it is made',
        description:
          'For what is heavy or cannot be undone and comes before the move. The job waits meanwhile; nobody beats. It ends by commit or abandon, by a new boot_id of the same owner and token, by force, or once ceiling_ms has passed. 409 transition_owned names the owner in `facts`. The same owner and boot_id get the same token. Audited.',
        params: JobParams,
        body: TransitionBegin,
        response: {
          200: answer('It is yours.', TransitionBegun),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    (request) => {
      const { params, body } = request
      return transitions.begin(actorOf(request), params.id, body)
    },
  )
}

function commitRoute(app: Scope, { transitions }: Services): void {
  app.post(
    `${path}/commit`,
    {
      config,
      schema: {
        tags,
        operationId: 'commitTransition',
        summary: 'Make the move that was begun',
        description:
          'Sent again it is answered as the first time. 409 stale_token: it was ended otherwise, and somebody else may own the move. Audited.',
        params: JobParams,
        body: TransitionCommit,
        response: {
          200: answer('The job, and the move.', TransitionAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    (request) => {
      const { params, body } = request
      return transitions.commit(actorOf(request), params.id, body)
    },
  )
}

function abandonRoute(app: Scope, { transitions }: Services): void {
  app.post(
    `${path}/abandon`,
    {
      config,
      schema: {
        tags,
        operationId: 'abandonTransition',
        summary: 'Give up the move that was begun, or take it from its owner by force',
        description:
          'With the token, or with force and a note. The job is what it was before the begin, or cancelled if that was asked for meanwhile. 409 stale_token: there is nothing to give up. Audited.',
        params: JobParams,
        body: TransitionAbandon,
        response: {
          200: answer('The job.', JobAnswer),
          ...problems(404, 409, 413, 415),
        },
      },
    },
    async (request) => {
      const { params, body } = request
      return { job: await transitions.abandon(actorOf(request), params.id, body) }
    },
  )
}

function listRoute(app: Scope, { transitions }: Services): void {
  app.get(
    '/v1/jobs/:id/moves',
    {
      config: { access: access.readJobs },
      schema: {
        tags,
        operationId: 'listMoves',
        summary: 'Each move of a job between its stages: when, by whom, and why',
        params: JobParams,
        querystring: MoveListQuery,
        response: { 200: answer('A page of moves, oldest first.', MoveList), ...problems(404) },
      },
    },
    ({ params, principal, query }) => transitions.list(params.id, principal, query),
  )
}
