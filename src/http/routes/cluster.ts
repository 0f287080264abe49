import { LeaderAnswer, Status } from '../../contract/cluster.ts'
import { access } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

export function clusterRoutes(app: Scope, { cluster }: Services): void {
  app.get(
    '/v1/leader',
    {
      config: { access: access.read },
      schema: {
        tags: ['cluster'],
        operationId: 'getLeader',
        summary: 'Who leads, since when, how recovery went, and why earlier terms ended',
        response: { 200: answer('The leader and the latest terms.', LeaderAnswer), ...problems() },
      },
    },
    () => cluster.leader(),
  )
  app.get(
    '/v1/status',
    {
      config: { access: access.read },
      schema: {
        tags: ['cluster'],
        operationId: 'getStatus',
        summary: 'Replicas, leader, queues, executors, leases and sweeps',
        response: { 200: answer('How everything stands.', Status), ...problems() },
      },
    },
    () => cluster.status(),
  )
}
