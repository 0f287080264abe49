import { Command } from 'commander'
import type { TokenCreate } from '../../contract/tokens.ts'
import { type ClientFlags, repeated, useClient, withClientOptions } from '../options.ts'
import { ago, printJson, printLines, table } from '../print.ts'

interface CreateFlags extends ClientFlags {
  name: string
  role: TokenCreate['role']
  executorId?: string
  queue?: string[]
  expiresAt?: string
}

export function tokenCommand(): Command {
  return new Command('token')
    .description('create, list and revoke tokens')
    .addCommand(
      withClientOptions(
        new Command('create')
          .description('create a token; it is shown once')
          .requiredOption('--name <name>', 'for people')
          .requiredOption('--role <role>', 'executor, submit, read, operator or admin')
          .option('--executor-id <id>', 'role executor: an id, or a prefix that ends in *')
          .option(
            '--queue <queue>',
            'roles executor and submit; repeatable; default: all',
            repeated,
          )
          .option('--expires-at <instant>', 'ISO 8601; default: never'),
      ).action(createToken),
    )
    .addCommand(
      withClientOptions(new Command('list').description('list tokens')).action(listTokens),
    )
    .addCommand(
      withClientOptions(
        new Command('revoke').description('revoke a token').argument('<id>'),
      ).action(revokeToken),
    )
}

async function createToken(flags: CreateFlags) {
  await useClient(flags, async (client) => {
    const { name, role, executorId, queue, expiresAt } = flags
    const created = await client.createToken({
      name,
      role,
      ...(executorId === undefined ? {} : { executor_id: executorId }),
      ...(queue === undefined ? {} : { queues: queue }),
      ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    })
    if (flags.json) printJson(created)
    else printLines([`id     ${created.id}`, `token  ${created.token}`])
  })
}

async function listTokens(flags: ClientFlags) {
  await useClient(flags, async (client) => {
    const tokens = await client.listTokens()
    if (flags.json) return printJson({ tokens })
    printLines(
      table(
        ['id', 'name', 'role', 'executor', 'queues', 'created', 'expires', 'revoked'],
        tokens.map((token) => [
          token.id,
          token.name,
          token.role,
          token.executor_id,
          token.queues?.join(',') ?? null,
          ago(token.created_at),
          token.expires_at,
          token.revoked_at && ago(token.revoked_at),
        ]),
      ),
    )
  })
}

async function revokeToken(id: string, flags: ClientFlags) {
  await useClient(flags, async (client) => {
    const token = await client.revokeToken(id)
    if (flags.json) printJson({ token })
    else printLines([`${token.id} (${token.name}) is revoked`])
  })
}
