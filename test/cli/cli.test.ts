import { randomUUID } from 'node:crypto'
import { mkdtemp, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { removeConnection, writeConnection } from '../../src/cli/connection.ts'
import { createProgram } from '../../src/cli/program.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { tempFolder } from '../support/temp.ts'

const db = useDatabase()

async function start() {
  const { api } = await startActive(db)
  return { api, env: { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken } }
}

test('submit, list, get and status, for people and as JSON', async () => {
  const { api, env } = await start()
  const queue = `q-${randomUUID().slice(0, 8)}`
  const flags = ['--kind', 'hello', '--queue', queue, '--label', 'team=infra', '--priority', '3']
  const people = await cli(['submit', ...flags, '--payload', '{"n":1}'], { env })
  expect(people.code).toBe(0)
  expect(people.stdout).toMatch(/^state +available$/m)
  const id = /^id +(\S+)$/m.exec(people.stdout)?.[1] ?? ''
  expect(await api.job(id)).toMatchObject({ priority: 3, labels: { team: 'infra' }, queue })
  const stdin = await cli(['submit', ...flags, '--payload', '-', '--key', 'k', '--json'], {
    env,
    stdin: '{"from":"stdin"}',
  })
  expect(stdin.json()).toMatchObject({ replayed: false, job: { payload: { from: 'stdin' } } })
  const list = await cli(['job', 'list', '--queue', queue, '--json'], { env })
  expect(list.json().jobs).toHaveLength(2)
  expect((await cli(['job', 'list', '--queue', queue], { env })).stdout).toContain(id)
  const get = await cli(['job', 'get', id, '--json'], { env })
  expect(get.json()).toMatchObject({ job: { id }, attempts: [], late_reports: [] })
  expect((await cli(['job', 'get', id], { env })).stdout).toContain('attempts that ended')
  const status = await cli(['status', '--json'], { env })
  expect(status.json().queues).toContainEqual(
    expect.objectContaining({ queue, available: 2, leased: 0 }),
  )
  expect((await cli(['status'], { env })).stdout).toMatch(/term \d+, led by replica-/)
})

test('submit --wait follows the job, and its exit code tells how it ended', async () => {
  const { api, env } = await start()
  const queue = `q-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(queue, { queues: [queue] })
  for (const [outcome, code] of [
    ['succeeded', 0],
    ['failed', 1],
  ] as const) {
    const flags = ['--kind', 'x', '--queue', queue, '--max-attempts', '1', '--wait', '--json']
    const running = cli(['submit', ...flags], { env })
    const [assignment] = await api.poll(queue, epoch, { wait_ms: 20_000 })
    await api.report(queue, epoch, { job_id: assignment?.job_id, fence: 1, outcome })
    const ended = await running
    expect(ended.json().job.state).toBe(outcome)
    expect(ended.code).toBe(code)
  }
})

test('tokens are created, used, listed and revoked', async () => {
  const { env } = await start()
  const flags = ['--name', 'ci', '--role', 'submit', '--queue', 'a', '--queue', 'b', '--json']
  const created = (await cli(['token', 'create', ...flags], { env })).json()
  const own = { ...env, UNDERSTUDY_TOKEN: created.token }
  expect((await cli(['submit', '--kind', 'x', '--queue', 'a'], { env: own })).code).toBe(0)
  expect((await cli(['submit', '--kind', 'x', '--queue', 'c'], { env: own })).code).toBe(4)
  const listed = (await cli(['token', 'list', '--json'], { env })).json().tokens
  expect(listed).toContainEqual(
    expect.objectContaining({ id: created.id, name: 'ci', queues: ['a', 'b'] }),
  )
  expect((await cli(['token', 'revoke', created.id], { env })).stdout).toContain('is revoked')
  expect((await cli(['job', 'list'], { env: own })).code).toBe(4)
})

test('exit codes tell usage, not found, not allowed and unavailable apart', async () => {
  const { env } = await start()
  const nobody = { UNDERSTUDY_URLS: 'http://127.0.0.1:9', UNDERSTUDY_TOKEN: 'x' }
  const cases: [string[], Record<string, string>, number, string][] = [
    [['nonsense'], env, 2, 'nonsense'],
    [['submit'], env, 2, '--kind'],
    [['submit', '--kind', 'x', '--payload', '{'], env, 2, 'not JSON'],
    [['submit', '--kind', 'x', '--priority', '10'], env, 2, 'from 0 to 9'],
    [['submit', '--kind', 'a b'], env, 2, 'kind'],
    [['status'], {}, 2, 'UNDERSTUDY_URLS'],
    [['status'], { UNDERSTUDY_URLS: 'nonsense' }, 2, 'UNDERSTUDY_URLS'],
    [['migrate'], {}, 2, 'DATABASE_URL'],
    [['job', 'get', randomUUID()], env, 3, 'not_found'],
    [['token', 'revoke', 'nothing'], env, 3, 'not_found'],
    [['status'], { ...env, UNDERSTUDY_TOKEN: 'nonsense' }, 4, 'unauthenticated'],
    [['serve'], { UNDERSTUDY_PORT: 'x' }, 2, 'UNDERSTUDY_PORT'],
  ]
  const results = await Promise.all(cases.map(([args, given]) => cli(args, { env: given })))
  for (const [index, result] of results.entries()) {
    const [args, , code, text] = cases[index] as (typeof cases)[number]
    expect([args.join(' '), result.code], result.stderr).toEqual([args.join(' '), code])
    expect(result.stderr).toContain(text)
    expect(result.stdout).toBe('')
  }
  const unavailable = await cli(['status', '--json'], { env: nobody })
  expect(unavailable.code).toBe(5)
  expect(JSON.parse(unavailable.stderr)).toMatchObject({ error: { code: 'unavailable' } })
})

test('serve lists every fault of its configuration before anything starts', async () => {
  const { code, stderr } = await cli(['serve'], {
    env: { UNDERSTUDY_PORT: '99999', UNDERSTUDY_LEASE_TTL_MS: '10' },
  })
  expect(code).toBe(2)
  for (const name of ['DATABASE_URL', 'UNDERSTUDY_PORT', 'UNDERSTUDY_LEASE_TTL_MS']) {
    expect(stderr).toContain(name)
  }
})

test('below the folder of a running dev, its connection is found; flags win over it', async () => {
  const { api } = await start()
  const folder = tempFolder('found')
  const file = await writeConnection(folder, { urls: [api.url], token: adminToken })
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const below = await mkdtemp(join(folder, 'below-'))
  expect((await cli(['status'], { cwd: below })).code).toBe(0)
  expect((await cli(['status', '--token', 'nonsense'], { cwd: below })).code).toBe(4)
  await removeConnection(folder)
  expect((await cli(['status'], { cwd: below })).code).toBe(2)
})

test('a payload may come from a file', async () => {
  const { env } = await start()
  const cwd = tempFolder('payload')
  await writeFile(join(cwd, 'p.json'), '[1,2]')
  const result = await cli(['submit', '--kind', 'x', '--payload', '@p.json', '--json'], {
    env,
    cwd,
  })
  expect(result.json().job.payload).toEqual([1, 2])
})

test('every command and subcommand explains itself', async () => {
  const program = createProgram()
  const commands = program.commands.flatMap((command) =>
    command.commands.length > 0
      ? command.commands.map((sub) => [command.name(), sub.name()])
      : [[command.name()]],
  )
  expect(commands.map((words) => words.join(' '))).toEqual([
    'serve',
    'migrate',
    'dev',
    'demo',
    'agent',
    'submit',
    'job list',
    'job get',
    'status',
    'token create',
    'token list',
    'token revoke',
  ])
  for (const command of program.commands.flatMap((each) => [each, ...each.commands])) {
    expect(command.description(), command.name()).not.toBe('')
    expect(command.helpInformation()).toContain('Usage: understudy')
  }
  const help = await cli(['token', 'create', '--help'])
  expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('--executor-id')])
  expect((await cli(['--help'])).stdout).toContain('Exit codes:')
})
