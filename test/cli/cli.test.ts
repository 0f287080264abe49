import { randomUUID } from 'node:crypto'
import { mkdtemp, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { removeConnection, writeConnection } from '../../src/cli/connection.ts'
import { createProgram } from '../../src/cli/program.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { listen } from '../support/listen.ts'
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
  // It is patient, so it goes first.
  const trying = cli(['status', '--json'], { env: nobody })
  const results = await Promise.all(cases.map(([args, given]) => cli(args, { env: given })))
  for (const [index, result] of results.entries()) {
    const [args, , code, text] = cases[index] as (typeof cases)[number]
    expect([args.join(' '), result.code], result.stderr).toEqual([args.join(' '), code])
    expect(result.stderr).toContain(text)
    expect(result.stdout).toBe('')
  }
  const unavailable = await trying
  expect(unavailable.code).toBe(5)
  expect(JSON.parse(unavailable.stderr)).toMatchObject({ error: { code: 'unavailable' } })
})

test('with --json every error is one line of JSON with a code', async () => {
  const { env } = await start()
  const badToken = { ...env, UNDERSTUDY_TOKEN: 'nonsense' }
  const cases: [string[], Record<string, string>, number, string][] = [
    [['submit'], env, 2, 'usage'],
    [['submit', '--kind', 'x', '--payload', '{'], env, 2, 'usage'],
    [['submit', '--kind', 'a b'], env, 2, 'invalid_request'],
    [['status', 'surplus'], env, 2, 'usage'],
    [['status'], {}, 2, 'usage'],
    [['status'], { UNDERSTUDY_URLS: 'nonsense' }, 2, 'configuration'],
    [['migrate'], {}, 2, 'configuration'],
    [['agent', '--id', 'a b', 'true'], env, 2, 'invalid_request'],
    [['agent', 'true'], badToken, 4, 'unauthenticated'],
    [['job', 'get', 'nope'], env, 3, 'not_found'],
  ]
  const results = await Promise.all(
    cases.map(([[name = '', ...args], given]) => {
      const words = name === 'job' ? ['job', 'get', '--json', 'nope'] : [name, '--json', ...args]
      return cli(words, { env: given })
    }),
  )
  for (const [index, result] of results.entries()) {
    const [args, , code, errorCode] = cases[index] as (typeof cases)[number]
    expect([args.join(' '), result.code], result.stderr).toEqual([args.join(' '), code])
    const { error } = JSON.parse(result.stderr)
    expect([args.join(' '), error.code]).toEqual([args.join(' '), errorCode])
    expect(error.message).not.toMatch(/^error:/)
  }
  const another = await cli(['agent', '--', 'true', '--json'], { env: badToken })
  expect(another.stderr).toMatch(/^error: .*\(unauthenticated\)$/m)
})

test('what goes wrong after the submit names the job', async () => {
  const url = await listen((request, response) => {
    if (request.method === 'POST') return response.writeHead(201).end('{"job":{"id":"j-1"}}')
    return response.writeHead(401).end('{"code":"unauthenticated","detail":"revoked"}')
  })
  const env = { UNDERSTUDY_URLS: url, UNDERSTUDY_TOKEN: 'token' }
  const { code, stderr } = await cli(['submit', '--kind', 'x', '--wait', '--json'], { env })
  expect(code).toBe(4)
  expect(JSON.parse(stderr)).toEqual({
    error: { code: 'unauthenticated', message: 'revoked', errors: [], job_id: 'j-1' },
  })
})

test('a token read from a file may end in a newline; one that no header can carry is refused', async () => {
  const { env } = await start()
  const trimmed = await cli(['status'], { env: { ...env, UNDERSTUDY_TOKEN: `${adminToken}\n` } })
  expect([trimmed.code, trimmed.stderr]).toEqual([0, ''])
  const refused = await cli(['status', '--token', 'to ken'], { env })
  expect(refused.code).toBe(2)
  expect(refused.stderr).toContain('UNDERSTUDY_TOKEN: must be printable')
})

test.each(['', '{', 'null', '{"urls":"x"}', '{"urls":["nonsense"],"token":"t"}'])(
  'a broken connection file, %j, is named, and only where it is needed',
  async (content) => {
    const { api } = await start()
    const folder = tempFolder('broken')
    const file = await writeConnection(folder, { urls: [], token: '' })
    await writeFile(file, content)
    const { code, stderr } = await cli(['status'], { cwd: folder })
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${file} cannot be used`)])
    const flags = ['--urls', api.url, '--token', adminToken]
    expect((await cli(['status', ...flags], { cwd: folder })).code).toBe(0)
  },
)

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
    'job explain',
    'job cancel',
    'job retry',
    'job approve',
    'job move',
    'job abandon',
    'job moves',
    'effect begin',
    'effect commit',
    'effect abort',
    'effect list',
    'effect resolve',
    'critical enter',
    'critical leave',
    'lock list',
    'lock acquire',
    'lock renew',
    'lock release',
    'lock force-release',
    'lock run',
    'executor list',
    'executor get',
    'executor history',
    'executor drain',
    'executor undrain',
    'executor clear',
    'executor deregister',
    'status',
    'leader show',
    'leader history',
    'leader step-down',
    'token create',
    'token list',
    'token revoke',
    'audit',
  ])
  for (const command of program.commands.flatMap((each) => [each, ...each.commands])) {
    expect(command.description(), command.name()).not.toBe('')
    expect(command.helpInformation()).toContain('Usage: understudy')
  }
  const help = await cli(['token', 'create', '--help'])
  expect([help.code, help.stdout]).toEqual([0, expect.stringContaining('--executor-id')])
  expect((await cli(['--help'])).stdout).toContain('Exit codes:')
})
