import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFailed, onTestFinished } from 'vitest'
import type { AttemptList, Job } from '../../src/contract/jobs.ts'
import type { Api } from '../support/api.ts'
import { Signals } from '../support/signals.ts'

const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

export interface Example {
  /** Its executor id, and the queue that it alone serves. */
  id: string
  /** A line of its stderr, or of its commands', past or future, that starts like this. */
  said(start: string): Promise<string>
  /** Lets the jobs of kind `wait` end. */
  letGo(): Promise<void>
  /** `<job id> <fence>` for each execution, in order. */
  runs(): Promise<string[]>
  kill(signal: NodeJS.Signals): void
  /** Its exit code, once nothing that it started holds its stderr any more. */
  closed: Promise<number | null>
}

/** An example as a process of its own, with a token of role executor, and a command for the tests. */
export async function startExample(
  file: string,
  api: Api,
  urls: string[],
  command = path('job.sh'),
): Promise<Example> {
  const id = `${file}-${randomUUID().slice(0, 8)}`
  const token = { name: id, role: 'executor', executor_id: id, queues: [id] }
  const created = await api.must(201, api.post('/v1/tokens', token))
  const folder = await mkdtemp(join(tmpdir(), 'understudy-example-'))
  const files = { RUNS: join(folder, 'runs'), GO: join(folder, 'go') }
  await writeFile(files.RUNS, '')
  const child = spawn(path(`../../examples/${file}`), [command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: {
      PATH: process.env.PATH,
      UNDERSTUDY_URLS: urls.join(),
      UNDERSTUDY_TOKEN: created.body.token,
      UNDERSTUDY_EXECUTOR_ID: id,
      UNDERSTUDY_QUEUES: id,
      UNDERSTUDY_GRACE: '0.3',
      ...files,
    },
  })
  const lines = new Signals<{ type: 'line'; text: string }>()
  createInterface({ input: child.stderr }).on('line', (text) => lines.fire({ type: 'line', text }))
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  onTestFailed(() => {
    process.stderr.write(lines.fired.map(({ text }) => `${id}: ${text}\n`).join(''))
  })
  onTestFinished(async () => {
    if (child.exitCode === null) process.kill(-(child.pid ?? 0), 'SIGKILL')
    // Jobs that still run look for this folder.
    await rm(folder, { recursive: true })
    await closed
  })
  return {
    id,
    said: async (start) => (await lines.wait('line', ({ text }) => text.startsWith(start))).text,
    letGo: () => writeFile(files.GO, ''),
    runs: async () => (await readFile(files.RUNS, 'utf8')).trim().split('\n').filter(Boolean),
    kill: (signal) => child.kill(signal),
    closed,
  }
}

/** The job once it is final, told by a long poll. */
export async function settled(api: Api, id: string): Promise<Job> {
  for (;;) {
    const { body } = await api.must(200, api.get(`/v1/jobs/${id}?wait_ms=20000`))
    if (body.job.finished_at !== null) return body.job
  }
}

/** How the job's leases ended, and what came too late. */
export async function history(api: Api, id: string): Promise<AttemptList> {
  return (await api.must(200, api.get(`/v1/jobs/${id}/attempts`))).body
}
