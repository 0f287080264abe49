import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive } from '../support/replica.ts'
import { startAgent } from './start-agent.ts'

const db = useDatabase()

test('payload on stdin, the job in the environment, the last JSON line as result', async () => {
  const { client, queue } = await startAgent(
    db,
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

test('a command is told its stage, and what those before it came to, if that fits into a variable', async () => {
  const { client, queue } = await startAgent(
    db,
    `case $UNDERSTUDY_STAGE in
      small) echo '{"n":1}' ;;
      large) printf '"' && head -c 140000 /dev/zero | tr '\\0' x && echo '"' ;;
    esac
    [ "$UNDERSTUDY_STAGE" = last ] && printf '"%s"\\n' "\${UNDERSTUDY_RESULTS-none}"
    [ "$UNDERSTUDY_STAGE" = middle ] && echo "$UNDERSTUDY_RESULTS"
    exit 0`,
  )
  const stages = ['small', 'middle', 'large', 'last'].map((name) => ({ name }))
  const { job } = await client.submit({ kind: 'x', queue, stages })
  const done = await client.waitForJob(job.id, 40_000)
  expect(done.stages.map(({ result }) => result)).toMatchObject([
    { n: 1 },
    { small: { n: 1 } },
    expect.stringMatching(/^x{140000}$/),
    'none',
  ])
})

test('the trace of the job is in TRACEPARENT, never the one that the agent was started in', async () => {
  const env = { TRACEPARENT: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }
  const { api, client, queue } = await startAgent(db, 'echo "\\"$TRACEPARENT\\""', { env })
  const traceparent = `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00`
  const job = { kind: 'x', queue }
  const { body } = await api.post('/v1/jobs', job, { headers: { traceparent } })
  const traced = [body.job.id, (await client.submit({ ...job, traceparent })).job.id]
  for (const id of traced)
    expect(await client.waitForJob(id, 20_000)).toMatchObject({ result: traceparent })
  const { job: untraced } = await client.submit(job)
  expect(await client.waitForJob(untraced.id, 20_000)).toMatchObject({ result: '' })
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
  const { client, queue } = await startAgent(db, command)
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'failed', error })
})

test('a command that cannot be started fails the attempt with its name', async () => {
  const { client, queue } = await startAgent(db, 'exec /no/such/command')
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'exit_code', message: expect.stringContaining('/no/such/command') },
  })
})

test('a command that reads nothing of a large payload, and prints no JSON, succeeds with null', async () => {
  const { client, queue } = await startAgent(db, 'exec true')
  const { job } = await client.submit({ kind: 'x', queue, payload: 'x'.repeat(200_000) })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'succeeded',
    result: null,
  })
})

test('capacity is how many commands run at a time, and no more', async () => {
  const { client, queue } = await startAgent(
    db,
    'mkdir run-$$; ls -d run-* | wc -l; sleep 0.2; rmdir run-$$',
    { flags: ['--capacity', '2'] },
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

test('nobody reads what the agent and its commands complain: the work goes on', async () => {
  const { client, queue, child } = await startAgent(
    db,
    'head -c 300000 /dev/zero >&2; echo complaint >&2; echo 7',
  )
  child.stderr.destroy()
  for (const _ of [1, 2]) {
    const { job } = await client.submit({ kind: 'x', queue })
    expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'succeeded', result: 7 })
  }
})

test('an agent that has no file descriptors left gives jobs back, unspent, and goes on', async () => {
  const agent = await startAgent(db, 'sleep 0.2; echo 7', {
    flags: ['--capacity', '30'],
    files: '60',
  })
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
    db,
    'mkdir run-$$; until [ "$(ls -d run-* | wc -l)" -ge 12 ]; do sleep 0.05; done; echo late >&2',
    { flags: ['--capacity', '12'] },
  )
  const ids = await Promise.all(
    Array.from({ length: 12 }, async () => (await client.submit({ kind: 'x', queue })).job.id),
  )
  for (const id of ids) await client.waitForJob(id, 40_000)
  while (lines.filter((line) => line === 'late').length < 12) {
    await pause()
  }
  expect(lines.filter((line) => line.includes('Warning'))).toEqual([])
})

test('a last line that is too long to be a result fails the job; no earlier line stands in', async () => {
  const { client, queue } = await startAgent(
    db,
    `echo '{"partial":true}'; printf '"'; head -c 300000 /dev/zero | tr '\\0' x; echo '"'`,
  )
  const { job } = await client.submit({ kind: 'x', queue })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    result: null,
    error: { code: 'result_too_large', retryable: false },
  })
})
