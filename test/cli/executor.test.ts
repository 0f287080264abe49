import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { startWorker } from '../support/health.ts'
import { adminToken } from '../support/replica.ts'

const db = useDatabase()

test('executors are listed, drained, cleared and cut off, for people and as JSON', async () => {
  const worker = await startWorker(db)
  const { api, executor } = worker
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const run = (...args: string[]) => cli(['executor', ...args], { env })
  await worker.work('failed', 3)

  expect((await run('list')).stdout).toMatch(/degraded, 0 failed, 0 done/)
  expect((await run('list', '--json')).json().executors).toMatchObject([{ executor_id: executor }])
  expect((await run('get', executor)).stdout).toMatch(/^ {2}health +degraded$/m)
  expect((await run('drain', executor, '--reason', 'new disk')).stdout).toMatch(/healthy, draining/)
  expect((await run('undrain', executor, '--json')).json()).toMatchObject({ draining: false })
  expect((await run('clear', executor)).stdout).toMatch(/^ {2}\S+ +1 +healthy +healthy +0/m)
  const cut = await run('deregister', executor)
  expect(cut.stdout).toBe(`epoch 1 of ${executor} has ended\n`)
  expect((await run('get', executor, '--json')).json()).toMatchObject({ state: 'deregistered' })

  const first = (await run('history', executor, '--limit', '3', '--json')).json()
  expect(first.changes.map(({ to }: { to: string }) => to)).toEqual([
    'deregistered',
    'healthy',
    'accepting',
  ])
  const rest = await run('history', executor, '--cursor', `${first.next_cursor}`)
  expect(rest.stdout).toMatch(/drain +accepting +draining +drained .*new disk/)
  expect(rest.stdout).toMatch(/health +healthy +degraded +failures +\{"failures":3\}/)
  expect((await run('get', 'nobody')).code).toBe(3)
  expect((await run('drain', 'nobody', '--json')).code).toBe(3)
})
