import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../../src/dev/ports.ts'
import { listen } from '../../support/listen.ts'
import { tempFolder } from '../../support/temp.ts'
import { Recorder, recordRequests } from './record.ts'

/** Asks a server that answers so, and returns what was written down of it. */
async function record(url: string, signal?: AbortSignal) {
  const file = join(tempFolder('record'), 'history.jsonl')
  const recorder = new Recorder(file)
  const end = recordRequests(recorder, 'somebody')
  onTestFinished(end)
  const agent = new Agent()
  onTestFinished(() => agent.destroy())
  try {
    const answer = await request(`${url}/v1/jobs`, {
      dispatcher: agent,
      method: 'POST',
      body: '{"kind":"k"}',
      signal: signal ?? null,
    })
    await answer.body.text()
  } catch {
    // What became of it stands in the history.
  }
  end()
  recorder.close()
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  return lines.map((line) => JSON.parse(line))
}

const recordFrom = async (handler: RequestListener, signal?: AbortSignal) =>
  record(await listen(handler), signal)

const invoke = {
  ...{ type: 'invoke', op: 'somebody:1', actor: 'somebody', method: 'POST', path: '/v1/jobs' },
  body: { kind: 'k' },
}

test('a request and its answer are written down, with both bodies', async () => {
  const events = await recordFrom((_, response) => {
    response.writeHead(201).write('{"job":')
    setTimeout(() => response.end('{"id":"x"}}'), 20)
  })
  expect(events).toMatchObject([
    invoke,
    { type: 'answer', op: 'somebody:1', status: 201, body: { job: { id: 'x' } } },
  ])
  expect(events[1].at).toBeGreaterThan(events[0].at)
})

test('an answer names the server that the balancer had it from', async () => {
  const [, answer] = await recordFrom((_, response) => {
    response.writeHead(200, { Via: 'x-served-by', 'X-Served-By': 'two', 'X-Other': 'one' }).end()
  })
  expect(answer).toMatchObject({ type: 'answer', status: 200, servedBy: 'two' })
})

test('without a balancer an answer names no server', async () => {
  const [, answer] = await recordFrom((_, response) =>
    response.writeHead(200, { 'X-Other': 'x-served-by' }).end(),
  )
  expect(answer).not.toHaveProperty('servedBy')
})

test('a process that is killed leaves out nothing that it had written', async () => {
  const file = join(tempFolder('record'), 'history.jsonl')
  const program = `import { Recorder } from '${new URL('record.ts', import.meta.url)}'
    const recorder = new Recorder(process.argv[1])
    for (let count = 0; count < 100; count += 1) recorder.write({ type: 'drained' })
    process.kill(process.pid, 'SIGKILL')`
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program, file])
  expect(signal).toBe('SIGKILL')
  expect((await readFile(file, 'utf8')).match(/"drained"}\n/g)).toHaveLength(100)
})

test('a line after the end is an error', () => {
  const recorder = new Recorder(join(tempFolder('record'), 'history.jsonl'))
  recorder.close()
  recorder.close()
  expect(() => recorder.write({ type: 'drained' })).toThrow('is closed')
})

test('an answer without JSON has no body', async () => {
  const [, answer] = await recordFrom((_, response) => response.writeHead(503).end())
  expect(answer).toMatchObject({ type: 'answer', status: 503 })
  expect(answer).not.toHaveProperty('body')
})

test('an answer that breaks off is lost, and may have been carried out', async () => {
  const events = await recordFrom((_, response) => {
    response.writeHead(201, { 'content-length': 100 }).write('{"job":')
    setTimeout(() => response.destroy(), 20)
  })
  expect(events).toMatchObject([invoke, { type: 'lost', op: 'somebody:1', wasSent: true }])
})

test('no answer in time: lost, and may have been carried out', async () => {
  const late = new AbortController()
  // Once it is here it was sent.
  const events = await recordFrom((incoming) => {
    incoming.resume()
    late.abort()
  }, late.signal)
  expect(events).toMatchObject([invoke, { type: 'lost', wasSent: true }])
})

test('a refused connection: lost, and certainly not carried out', async () => {
  const events = await record(`http://127.0.0.1:${await findFreePort()}`)
  expect(events).toMatchObject([invoke, { type: 'lost', why: 'ECONNREFUSED', wasSent: false }])
})
