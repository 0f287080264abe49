import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import {
  type LogLine,
  type ReplicaProcess,
  startReplicaProcess,
} from '../../src/dev/replica-process.ts'
import { type Answer, Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { patience } from './patience.ts'
import { pause } from './pause.ts'
import { adminToken } from './replica.ts'
import { tempFolder } from './temp.ts'

export interface ServeProcess {
  process: ReplicaProcess
  api: Api
  lines: LogLine[]
  /** Its stdout and stderr. */
  logFile: string
}

/** `understudy serve` as a process of its own, killed when the test ends. */
export async function launchServe(
  db: Pick<TestDatabase, 'url'>,
  name: string,
  env: Record<string, string> = {},
  atPort?: number,
): Promise<ServeProcess> {
  const logFile = join(tempFolder('serve'), 'log')
  const replica = startReplicaProcess({
    name,
    port: atPort ?? (await findFreePort()),
    databaseUrl: db.url,
    adminToken,
    logFile,
    env: { ...patience, ...env },
  })
  onTestFinished(async () => {
    replica.kill('SIGKILL')
    await replica.exited
  })
  const lines: LogLine[] = []
  replica.onLog((line) => lines.push(line))
  return { process: replica, api: new Api(replica.url, adminToken), lines, logFile }
}

/** One that is ready. */
export async function startServe(
  db: Pick<TestDatabase, 'url'>,
  name: string,
  env: Record<string, string> = {},
): Promise<ServeProcess> {
  const serve = await launchServe(db, name, env)
  await untilAnswers(serve, '/health/ready', ({ status }) => status === 200)
  return serve
}

/** Asks until the answer passes; throws if the process ends. */
export async function untilAnswers(
  { process, api, lines }: ServeProcess,
  path: string,
  passes: (answer: Answer) => boolean,
): Promise<void> {
  for (;;) {
    const answer = await api.get(path).catch(() => undefined)
    if (answer && passes(answer)) return
    if (process.hasExited) throw new Error(`${process.name} ended: ${JSON.stringify(lines)}`)
    await pause()
  }
}

/** Which of the two leads, by their probes. */
export async function tellApart(
  pair: [ServeProcess, ServeProcess],
): Promise<{ active: ServeProcess; standby: ServeProcess }> {
  for (;;) {
    const states = await Promise.all(
      pair.map(async ({ api }) => (await api.get('/health/live')).body.controller_state),
    )
    if (states.join() === 'active,standby') return { active: pair[0], standby: pair[1] }
    if (states.join() === 'standby,active') return { active: pair[1], standby: pair[0] }
    await pause()
  }
}
