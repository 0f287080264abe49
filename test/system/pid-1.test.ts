import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { expect, onTestFinished, test } from 'vitest'
import { findFreePort } from '../../src/dev/ports.ts'
import { cliPath } from '../../src/dev/replica-process.ts'
import { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { patience } from '../support/patience.ts'
import { adminToken } from '../support/replica.ts'
import { findTool } from '../support/tools.ts'

const db = useDatabase()

/** `understudy serve` as the first process of a PID namespace, as in a container. */
async function startAsPid1() {
  const port = await findFreePort()
  const namespace = process.getuid?.() === 0 ? ['--pid'] : ['--pid', '--user', '--map-root-user']
  const parent = spawn(
    findTool('unshare'),
    [...namespace, '--fork', '--kill-child', process.execPath, cliPath, 'serve'],
    {
      stdio: 'ignore',
      env: {
        PATH: process.env.PATH,
        DATABASE_URL: db.url,
        UNDERSTUDY_PORT: String(port),
        UNDERSTUDY_NAME: `pid-1-${port}`,
        UNDERSTUDY_ADMIN_TOKEN: adminToken,
        ...patience,
      },
    },
  )
  const exited = once(parent, 'exit')
  onTestFinished(() => void parent.kill('SIGKILL'))
  const api = new Api(`http://127.0.0.1:${port}`, adminToken)
  await api.untilActive()
  const children = await readFile(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8')
  const pid = Number(children.trim())
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  expect(/^NSpid:\s+\d+\s+(\d+)$/m.exec(status)?.[1]).toBe('1')
  return { pid, exited, api }
}

test.each(['SIGTERM', 'SIGINT'] as const)(
  'as PID 1 it heeds %s: hands over and exits 0',
  async (signal) => {
    const { pid, exited, api } = await startAsPid1()
    const { term } = (await api.get('/health/active')).body
    process.kill(pid, signal)
    expect(await exited).toEqual([0, null])
    expect(await db.sql('SELECT end_reason FROM terms WHERE term = $1', [term])).toEqual([
      { end_reason: 'hand_over' },
    ])
  },
)
