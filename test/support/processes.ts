import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import {
  type LogLine,
  type ReplicaProcess,
  startReplicaProcess,
} from '../../src/dev/replica-process.ts'
import { Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { adminToken } from './replica.ts'
import { tempFolder } from './temp.ts'

export interface ServeProcess {
  process: ReplicaProcess
  api: Api
  lines: LogLine[]
}

/** `understudy serve` as a process of its own, ready, and killed when the test ends. */
export async function startServe(db: TestDatabase, name: string): Promise<ServeProcess> {
  const replica = startReplicaProcess({
    name,
    port: await findFreePort(),
    databaseUrl: db.url,
    adminToken,
    logFile: join(tempFolder('serve'), 'log'),
  })
  onTestFinished(async () => {
    replica.kill('SIGKILL')
    await replica.exited
  })
  const lines: LogLine[] = []
  replica.onLog((line) => lines.push(line))
  const api = new Api(replica.url, adminToken)
  while ((await api.get('/health/ready').catch(() => undefined))?.status !== 200) {
    if (replica.hasExited) throw new Error(`${name} ended: ${JSON.stringify(lines)}`)
  }
  return { process: replica, api, lines }
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
  }
}
