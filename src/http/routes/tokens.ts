import {
  TokenAnswer,
  TokenCreate,
  TokenCreated,
  TokenList,
  TokenParams,
} from '../../contract/tokens.ts'
import { access, actorOf } from '../auth.ts'
import { answer, problems } from '../replies.ts'
import type { Scope } from '../scope.ts'
import type { Services } from '../services.ts'

const tags = ['tokens']

export function tokenRoutes(app: Scope, { tokens }: Services): void {
  app.post(
    '/v1/tokens',
    {
      config: { access: access.administer },
      schema: {
        tags,
        operationId: 'createToken',
        summary: 'Create a token; it is shown once',
        description: 'Accepted by every replica at once.',
        body: TokenCreate,
        response: { 201: answer('The token; keep it.', TokenCreated), ...problems(413, 415) },
      },
    },
    async (request, reply) =>
      reply.code(201).send(await tokens.create(actorOf(request), request.body)),
  )
  app.get(
    '/v1/tokens',
    {
      config: { access: access.read },
      schema: {
        tags,
        operationId: 'listTokens',
        summary: 'List tokens, without their secrets',
        response: { 200: answer('Every token.', TokenList), ...problems() },
      },
    },
    async () => ({ tokens: await tokens.list() }),
  )
  app.delete(
    '/v1/tokens/:id',
    {
      config: { access: access.administer },
      schema: {
        tags,
        operationId: 'revokeToken',
        summary: 'Revoke a token; in force everywhere within a second',
        params: TokenParams,
        response: { 200: answer('The revoked token.', TokenAnswer), ...problems(404) },
      },
    },
    async (request) => ({ token: await tokens.revoke(actorOf(request), request.params.id) }),
  )
}
