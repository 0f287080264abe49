import {
  LockAcquire,
  LockAnswer,
  LockForceRelease,
  LockHolder,
  LockHolding,
  LockList,
  LockListQuery,
  LockParams,
  LockReleased,
} from '../../contract/locks.ts'
import { access, actorOf } from '../auth.ts'
import { goneController } from '../gone.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['locks']
const path = '/v1/locks/:name'

/** Named locks for actors outside, apart from the leases of jobs. */
export function lockRoutes(app: Scope, services: Services): void {
  acquireRoute(app, services)
  renewRoute(app, services)
  releaseRoute(app, services)
  forceReleaseRoute(app, services)
  readRoutes(app, services)
}

function acquireRoute(app: Scope, { locks, tokens }: Services): void {
  app.post(
    `${path}/acquire`,
    {
      config: { access: access.decide },
      schema: {
        tags,
        operationId: 'acquireLock',
        summary: 'Acquire a lock, or wait for it with wait_ms',
        description:
          'Sent again by its holder: the same fence, renewed. A new boot_id of the same owner, with the same token, takes over. 409 lock_held: another has it; stale_fence: a newer process of the owner has had it since. Who waits longest is not served first. Served by any replica.',
        params: LockParams,
        body: LockAcquire,
        response: {
          200: answer('It is yours, until expires_at.', LockHolding),
          ...problems(409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const { params, body, principal } = request
      const gone = goneController(reply)
      if (!body.wait_ms) return await locks.acquire(principal, params.name, body, gone.signal)
      return await tokens.whileValid(principal, gone, (gone) =>
        locks.acquire(principal, params.name, body, gone),
      )
    },
  )
}

function renewRoute(app: Scope, { locks }: Services): void {
  app.post(
    `${path}/renew`,
    {
      config: { access: access.decide },
      schema: {
        tags,
        operationId: 'renewLock',
        summary: 'Show that its holder is alive',
        description:
          'Every renew_ms. 409 stale_fence: it is not, or no longer, yours: stop. Served by any replica.',
        params: LockParams,
        body: LockHolder,
        response: {
          200: answer('It is yours, until expires_at.', LockHolding),
          ...problems(409, 413, 415),
        },
      },
    },
    ({ params, body }) => locks.renew(params.name, body),
  )
}

function releaseRoute(app: Scope, { locks }: Services): void {
  app.post(
    `${path}/release`,
    {
      config: { access: access.decide },
      schema: {
        tags,
        operationId: 'releaseLock',
        summary: 'Give a lock up',
        description:
          'Sent again it is answered as the first time, while nobody else has had it. 409 stale_fence: it is not yours; nothing was done.',
        params: LockParams,
        body: LockHolder,
        response: { 200: answer('It is free.', LockReleased), ...problems(409, 413, 415) },
      },
    },
    ({ params, body }) => locks.release(params.name, body),
  )
}

function forceReleaseRoute(app: Scope, { locks }: Services): void {
  app.post(
    `${path}/force-release`,
    {
      config: { access: access.decide },
      schema: {
        tags,
        operationId: 'forceReleaseLock',
        summary: 'Take a lock away from whoever has it; audited',
        description:
          'Its holder is told when it renews next: until then both it and the next may believe to hold it, and only the fence tells them apart. A lock that nobody has is answered as it is.',
        params: LockParams,
        body: LockForceRelease,
        response: { 200: answer('The lock.', LockAnswer), ...problems(404, 409, 413, 415) },
      },
    },
    async (request) => ({
      lock: await locks.forceRelease(actorOf(request), request.params.name, request.body),
    }),
  )
}

function readRoutes(app: Scope, { locks }: Services): void {
  app.get(
    '/v1/locks',
    {
      config: { access: access.read },
      schema: {
        tags,
        operationId: 'listLocks',
        summary: 'List named locks, by name',
        description: 'A name that nobody has had for a day is forgotten, but never its fence.',
        querystring: LockListQuery,
        response: { 200: answer('A page of locks.', LockList), ...problems() },
      },
    },
    (request) => locks.list(request.query),
  )
  app.get(
    path,
    {
      config: { access: access.read },
      schema: {
        tags,
        operationId: 'getLock',
        summary: 'Who has a lock, or had it last',
        params: LockParams,
        response: { 200: answer('The lock.', LockAnswer), ...problems(404) },
      },
    },
    async (request) => ({ lock: await locks.get(request.params.name) }),
  )
}
