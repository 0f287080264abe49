import { AuditList, AuditQuery } from '../../contract/audit.ts'
import { LeaderAnswer, LeaderQuery, Status, StepDown, SteppedDown } from '../../contract/cluster.ts'
import { access, actorOf } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

export function clusterRoutes(app: Scope, services: Services): void {
  readRoutes(app, services)
  stepDownRoute(app, services)
}

function stepDownRoute(app: Scope, { cluster }: Services): void {
  app.post(
    '/v1/leader/step-down',
    {
      config: { access: access.lead },
      schema: {
        tags: ['cluster'],
        operationId: 'stepDown',
        summary: 'Hand over now; audited',
        description:
          'The leader ends its term as on SIGTERM, and stands again two seconds later: without another replica it leads the next term, too.',
        body: StepDown.nullish(),
        response: { 200: answer('The term has ended.', SteppedDown), ...problems(409, 413, 415) },
      },
    },
    (request) => cluster.stepDown(actorOf(request), request.body ?? {}),
  )
}

function readRoutes(app: Scope, { cluster, auditLog }: Services): void {
  app.get(
    '/v1/leader',
    {
      config: { access: access.read },
      schema: {
        tags: ['cluster'],
        operationId: 'getLeader',
        summary: 'Who leads, since when, how recovery went, and why earlier terms ended',
        querystring: LeaderQuery,
        response: { 200: answer('The leader and the latest terms.', LeaderAnswer), ...problems() },
      },
    },
    (request) => cluster.leader(request.query),
  )
  app.get(
    '/v1/status',
    {
      config: { access: access.read },
      schema: {
        tags: ['cluster'],
        operationId: 'getStatus',
        summary: 'Replicas, leader, queues, executors, leases, named locks and sweeps',
        response: { 200: answer('How everything stands.', Status), ...problems() },
      },
    },
    () => cluster.status(),
  )
  app.get(
    '/v1/audit',
    {
      config: { access: access.read },
      schema: {
        tags: ['cluster'],
        operationId: 'listAudit',
        summary: 'What people did to the cluster, newest first',
        querystring: AuditQuery,
        response: { 200: answer('A page of the audit.', AuditList), ...problems() },
      },
    },
    (request) => auditLog.list(request.query),
  )
}
