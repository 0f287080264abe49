import type { FastifyRequest } from 'fastify'
import type { Role } from '../contract/tokens.ts'
import { AppError } from '../errors.ts'
import type { Actor } from '../services/audit.ts'
import type { Principal } from '../services/tokens.ts'
import type { Surface } from './standing.ts'

/** Who may use a route, and when it is served. A route without one does not start. */
export interface Access {
  surface: Surface
  roles: readonly Role[] | 'anyone'
  /** A 503 here may cost an executor its leases: it is noted as a stall. */
  renewsLeases?: true
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access
  }
  interface FastifyRequest {
    principal: Principal
  }
}

/** Deny by default; each route names one of these. DESIGN 7. */
export const access = {
  live: { surface: 'live', roles: 'anyone' },
  ready: { surface: 'ready', roles: 'anyone' },
  active: { surface: 'active', roles: 'anyone' },
  act: { surface: 'executor', roles: ['executor', 'admin'] },
  beat: { surface: 'executor', roles: ['executor', 'admin'], renewsLeases: true },
  care: { surface: 'executor', roles: ['executor', 'operator', 'admin'] },
  repair: { surface: 'executor', roles: ['operator', 'admin'] },
  submit: { surface: 'replica', roles: ['submit', 'operator', 'admin'] },
  readJobs: { surface: 'replica', roles: ['submit', 'read', 'operator', 'admin'] },
  readExecutor: { surface: 'replica', roles: ['executor', 'read', 'operator', 'admin'] },
  read: { surface: 'replica', roles: ['read', 'operator', 'admin'] },
  lead: { surface: 'leader', roles: ['operator', 'admin'] },
  decide: { surface: 'replica', roles: ['operator', 'admin'] },
  administer: { surface: 'replica', roles: ['admin'] },
} as const satisfies Record<string, Access>

export async function authenticate(
  request: FastifyRequest,
  tokens: { authenticate(presented: string, address: string): Promise<Principal | undefined> },
): Promise<Principal> {
  const [, presented] = /^Bearer +([^\s]+)$/i.exec(request.headers.authorization ?? '') ?? []
  if (presented === undefined) {
    throw new AppError('unauthenticated', 'send a token: Authorization: Bearer …')
  }
  // None once the client has hung up.
  const { remoteAddress = 'unknown' } = request.raw.socket
  const principal = await tokens.authenticate(presented, remoteAddress)
  if (!principal) throw new AppError('unauthenticated', 'the token is unknown, expired or revoked')
  return principal
}

export function authorize({ role }: Principal, { roles }: Access): void {
  if (roles !== 'anyone' && !roles.includes(role)) {
    throw new AppError('forbidden', `role ${role} may not do this; ${roles.join(', ')} may`)
  }
}

/** Who asks, as the audit keeps it. */
export function actorOf({ principal, id }: FastifyRequest): Actor {
  return { tokenId: principal.tokenId, role: principal.role, requestId: id }
}

/** An executor's token acts for its own executor only, exact or by prefix. */
export function authorizeExecutor({ role, executorPattern }: Principal, executorId: string): void {
  if (role !== 'executor' || executorPattern === null) return
  const isOwn = executorPattern.endsWith('*')
    ? executorId.startsWith(executorPattern.slice(0, -1))
    : executorId === executorPattern
  if (!isOwn) {
    throw new AppError('forbidden', `this token acts for executor ${executorPattern} only`)
  }
}

/** For a call in the name of a registered executor. Its queues decide, too: to act for it is to be given
 *  what lies in them. */
export async function authorizeAct(
  principal: Principal,
  executorId: string,
  directory: { queuesOf(executorId: string): Promise<Iterable<string>> },
): Promise<void> {
  authorizeExecutor(principal, executorId)
  if (principal.queues !== null) authorizeQueues(principal, await directory.queuesOf(executorId))
}

export function authorizeQueues({ queues }: Principal, wanted: Iterable<string>): void {
  if (queues === null) return
  for (const queue of wanted) {
    if (!queues.includes(queue)) {
      throw new AppError('forbidden', `this token is bound to the queues ${queues.join(', ')}`)
    }
  }
}
