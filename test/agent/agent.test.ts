import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { Client } from '../../src/sdk/index.ts'
import { useDatabase } from '../support/database.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { tempFolder } from '../support/temp.ts'

/** `understudy agent` as a process of its own. */

const db = useDatabase()

interface AgentEvent {
  type: string
  jobId?: string
  reason?: string
}

async function startAgent(command: string, flags: string[] = [], files = '1024') {
  const { api, app } = await startActive(db)
  const queue = `q-${randomUUID().slice(0, 8)}`
  const folder = tempFolder('agent')
  const events = new Signals<AgentEvent>()
  const args = [
    'agent',
    '--json',
    '--queue',
    queue,
    '--id',
    queue,
    ...flags,
    '--',
    'sh',
    '-c',
    command,
  ]
  const limited = ['-c', `ulimit -n ${files}; exec "$@"`, 'sh', process.execPath, cliPath, ...args]
  const child = spawn('sh', limited, {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken },
  })
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    lines.push(line)
    if (line.startsWith('{')) events.fire(JSON.parse(line) as AgentEvent)
  })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const client = new Client({ urls: [api.url], token: adminToken })
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await exited
    await client.close()
  })
  return { api, app, client, queue, folder, events, lines, child, exited }
}

async function untilFile(path: string): Promise<string> {
  while (!existsSync(path) || readFileSync(path, 'utf8') === '') {
    await new Promise((resolve) => setImmediate(resolve))
  }
  return readFileSync(path, 'utf8').trim()
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const terminate = (child: ChildProcess) => child.kill('SIGTERM')

test('payload on stdin, the job in the environment, the last JSON line as result', async () => {
  const { client, queue } = await startAgent(
    `read line; echo "log: $line"; echo '{"partial":true}'
    printf '{"got":%s,"job":"%s","fence":%s,"attempt":%s,"kind":"%s","queue":"%s","executor":"%s","epoch":%s}\\n' \
      "$line" "$UNDERSTUDY_JOB_ID" "$UNDERSTUDY_FENCE" "$UNDERSTUDY_ATTEMPT" "$UNDERSTUDY_KIND" \
      "$UNDERSTUDY_QUEUE" "$UNDERSTUDY_EXECUTOR_ID" "$UNDERSTUDY_EPOCH"; echo done`,
  )
  const { job } = await client.submit({ kind: 'greet', queue, payload: { n: [1, 'é'] } })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'succeeded',
    result: {
      got: { n: [1, 'é'] },
      job: job.id,
      fence: 1,
      attempt: 1,
      kind: 'greet',
      queue,
      executor: queue,
      epoch: 1,
    },
  })
})

test.each([
  ['an exit code', 'echo oops >&2; exit 3', { code: 'exit_code', message: 'exit code 3: oops' }],
  ['a signal', 'kill -9 $$', { code: 'killed', message: 'killed by SIGKILL' }],
  [
    'an error of its own',
    `echo '{"code":"no_disk","message":"full","retryable":false}'; exit 1`,
    { code: 'no_disk', message: 'full', retryable: false },
  ],
])('%s fails the attempt', async (_name, command, error) => {
  const { client, queue } = await startAgent(command)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'failed', error })
})

test('a command that cannot be started fails the attempt with its name', async () => {
  const { client, queue } = await startAgent('exec /no/such/command')
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'exit_code', message: expect.stringContaining('/no/such/command') },
  })
})

test('a command that reads nothing of a large payload, and prints no JSON, succeeds with null', async () => {
  const { client, queue } = await startAgent('exec true')
  const { job } = await client.submit({ kind: 'x', queue, payload: 'x'.repeat(200_000) })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'succeeded',
    result: null,
  })
})

test('a run timeout ends the whole process group, also what ignores SIGTERM', async () => {
  const { client, queue, folder } = await startAgent(
    `trap '' TERM; sh -c 'trap "" TERM; echo $$ > grandchild; while :; do sleep 0.05; done' & wait`,
    ['--grace-ms', '200'],
  )
  const { job } = await client.submit({ kind: 'x', queue, run_timeout_ms: 500, max_attempts: 1 })
  const grandchild = Number(await untilFile(join(folder, 'grandchild')))
  expect(isAlive(grandchild)).toBe(true)
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'run_timeout' },
  })
  while (isAlive(grandchild)) await new Promise((resolve) => setImmediate(resolve))
})

test('SIGTERM: finishes what it holds, takes nothing new, and exits 0', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(
    'echo $$ > started; while [ ! -e go ]; do sleep 0.02; done; echo 7',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'started'))
  terminate(child)
  const later = await client.submit({ kind: 'x', queue })
  await writeFile(join(folder, 'go'), 'go')
  expect(await exited).toBe(0)
  expect(events.fired.filter(({ type }) => type === 'started')).toHaveLength(1)
  expect(await client.getJob(job.id)).toMatchObject({ state: 'succeeded', result: 7 })
  expect(await client.getJob(later.job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('a second SIGTERM stops the commands at once, and the jobs go back unspent', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(
    'echo $$ > started; exec sleep 100',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  terminate(child)
  await events.wait('draining')
  terminate(child)
  expect(await exited).toBe(0)
  expect(isAlive(pid)).toBe(false)
  expect(await client.getJob(job.id)).toMatchObject({ state: 'available', attempt: 0 })
})

test('capacity is how many commands run at a time, and no more', async () => {
  const { client, queue } = await startAgent(
    'mkdir run-$$; ls -d run-* | wc -l; sleep 0.2; rmdir run-$$',
    ['--capacity', '2'],
  )
  const ids = await Promise.all(
    Array.from({ length: 6 }, async () => (await client.submit({ kind: 'x', queue })).job.id),
  )
  const jobs = await Promise.all(ids.map((id) => client.waitForJob(id, 20_000)))
  const atOnce = jobs.map(({ result }) => result as number)
  expect(Math.max(...atOnce)).toBe(2)
})

test('a refused token ends the agent with exit code 4', async () => {
  const { api } = await startActive(db)
  const child = spawn(process.execPath, [cliPath, 'agent', '--', 'true'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: 'nonsense' },
  })
  const complaints: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk))
  const code = await new Promise((resolve) => child.once('close', resolve))
  expect(code).toBe(4)
  expect(Buffer.concat(complaints).toString()).toContain('unauthenticated')
})

test('what ignores SIGTERM does not outlive a command that heeds it', async () => {
  const { client, queue, folder } = await startAgent(
    `sh -c 'trap "" TERM; echo $$ > grandchild; while [ -e grandchild ]; do sleep 0.05; done' &
    exec sleep 100`,
    ['--grace-ms', '60000'],
  )
  const { job } = await client.submit({ kind: 'x', queue, run_timeout_ms: 500, max_attempts: 1 })
  const grandchild = Number(await untilFile(join(folder, 'grandchild')))
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ error: { code: 'run_timeout' } })
  while (isAlive(grandchild)) await new Promise((resolve) => setImmediate(resolve))
})

test('what a command leaves in the background holds up neither its result nor the agent', async () => {
  const { client, queue, child, exited } = await startAgent(
    'touch here; while [ -e here ]; do sleep 0.05; done & echo 7',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'succeeded', result: 7 })
  terminate(child)
  expect(await exited).toBe(0)
})

test('an agent that is refused exits once its commands have ended', async () => {
  const { api, client, queue, folder, exited } = await startAgent(
    `trap 'sleep 0.3; echo done > ended; exit' TERM; echo $$ > started
    while [ -e started ]; do sleep 0.05; done`,
  )
  await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'started'))
  await api.register(queue, { queues: ['another'] })
  expect(await exited).toBe(1)
  expect(await untilFile(join(folder, 'ended'))).toBe('done')
})

const stubborn = `trap '' TERM; echo $$ > started; while [ -e started ]; do sleep 0.05; done`

test('a signal to an agent that is refused kills what still runs', async () => {
  const { api, client, queue, folder, events, child, exited } = await startAgent(stubborn, [
    '--grace-ms',
    '60000',
  ])
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  await api.register(queue, { queues: ['another'] })
  await events.wait('told_to_stop')
  while (isAlive(pid)) {
    terminate(child)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await exited).toBe(1)
})

test('a third SIGTERM kills the commands and exits', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(stubborn, [
    '--grace-ms',
    '60000',
  ])
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  terminate(child)
  await events.wait('draining')
  terminate(child)
  await events.wait('told_to_stop')
  terminate(child)
  expect(await exited).toBe(1)
  while (isAlive(pid)) await new Promise((resolve) => setImmediate(resolve))
})

test('with the control plane gone, a stopped agent says so and exits', async () => {
  const { app, client, queue, folder, events, child, exited, lines } = await startAgent(
    'echo $$ > started; exec sleep 100',
  )
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  await app.stop()
  terminate(child)
  await events.wait('draining')
  terminate(child)
  expect(await exited).toBe(5)
  expect(isAlive(pid)).toBe(false)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ error: { code: 'unavailable' } })
})

test('nobody reads what the agent and its commands complain: the work goes on', async () => {
  const { client, queue, child } = await startAgent(
    'head -c 300000 /dev/zero >&2; echo complaint >&2; echo 7',
  )
  child.stderr.destroy()
  for (const _ of [1, 2]) {
    const { job } = await client.submit({ kind: 'x', queue })
    expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'succeeded', result: 7 })
  }
})

test('an agent that has no file descriptors left gives jobs back, unspent, and goes on', async () => {
  const agent = await startAgent('sleep 0.2; echo 7', ['--capacity', '30'], '60')
  const { client, queue, events } = agent
  const ids = await Promise.all(
    Array.from({ length: 30 }, async () => (await client.submit({ kind: 'x', queue })).job.id),
  )
  for (const id of ids) {
    const job = await client.waitForJob(id, 40_000)
    expect(job).toMatchObject({ state: 'succeeded', result: 7, attempt: 1 })
  }
  expect(JSON.stringify(events.fired)).toContain('released')
})

test('many commands at once are no reason for a warning', async () => {
  const { client, queue, lines } = await startAgent(
    'mkdir run-$$; until [ "$(ls -d run-* | wc -l)" -ge 12 ]; do sleep 0.05; done; echo late >&2',
    ['--capacity', '12'],
  )
  const ids = await Promise.all(
    Array.from({ length: 12 }, async () => (await client.submit({ kind: 'x', queue })).job.id),
  )
  for (const id of ids) await client.waitForJob(id, 40_000)
  while (lines.filter((line) => line === 'late').length < 12) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(lines.filter((line) => line.includes('Warning'))).toEqual([])
})

test('a last line that is too long to be a result fails the job; no earlier line stands in', async () => {
  const { client, queue } = await startAgent(
    `echo '{"partial":true}'; printf '"'; head -c 300000 /dev/zero | tr '\\0' x; echo '"'`,
  )
  const { job } = await client.submit({ kind: 'x', queue })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    result: null,
    error: { code: 'result_too_large', retryable: false },
  })
})
