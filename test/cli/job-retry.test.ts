import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { adminToken } from '../support/replica.ts'
import { startRetries } from '../support/retries.ts'

const db = useDatabase()

async function start() {
  const work = await startRetries(db)
  const env = { UNDERSTUDY_URLS: work.api.url, UNDERSTUDY_TOKEN: adminToken }
  return { ...work, env, retryBy: (...args: string[]) => cli(['job', 'retry', ...args], { env }) }
}

test('job retry: a job, for people and as JSON; asked again it is the same', async () => {
  const { api, ended, env, retryBy } = await start()
  const old = await ended('failed')
  const first = await retryBy(old.id, '--reason', 'fixed')
  const { retried_as } = await api.job(old.id)
  expect(first.stdout).toBe(`${old.id} is retried as ${retried_as}\n`)
  const again = await retryBy(old.id, '--json')
  expect(again.json()).toMatchObject({ replayed: true, job: { id: retried_as, retry_of: old.id } })
  expect((await retryBy(retried_as ?? '')).stderr).toContain('(job_not_final)')
  const shown = (await cli(['job', 'get', old.id], { env })).stdout
  expect(shown).toMatch(new RegExp(`^retried as  ${retried_as}$`, 'm'))
})

test('job retry --all: counted, then done; failed jobs are listed with why', async () => {
  const { queue, ended, env, retryBy } = await start()
  await ended('failed')
  await ended('failed')
  await ended('succeeded')
  const list = await cli(['job', 'list', '--queue', queue, '--state', 'failed'], { env })
  expect(list.stdout).toMatch(/ failed +- +1\/1 +- +failed +\d+s ago$/m)
  const flags = ['--all', '--queue', queue, '--state', 'failed']
  expect((await retryBy(...flags, '--dry-run')).stdout).toBe('2 jobs would be retried\n')
  expect((await retryBy(...flags, '--dry-run', '--json')).json()).toEqual({
    dry_run: true,
    matched: 2,
  })
  expect((await retryBy(...flags)).stdout).toBe('2 of 2 jobs are retried\n')
  expect((await retryBy(...flags, '--json')).json()).toEqual({
    dry_run: false,
    matched: 0,
    changed: 0,
    skipped: 0,
  })
  const everything = await retryBy('--all')
  expect([everything.code, everything.stderr]).toEqual([2, expect.stringContaining('confirm')])
  expect((await retryBy('--all', '--yes')).stdout).toBe('0 of 0 jobs are retried\n')
})

test('job retry: what does not fit together is a mistake in usage', async () => {
  const { retryBy } = await start()
  for (const args of [[], ['x', '--all'], ['x', '--queue', 'q'], ['--all', '--delay-ms', '1']]) {
    expect((await retryBy(...args)).code).toBe(2)
  }
})

test('job get lists the reports that came too late, and why', async () => {
  const { submit, hold, lose, env } = await start()
  const job = await submit()
  const holder = await hold()
  await lose(holder)
  await holder.report('succeeded')
  const { stdout } = await cli(['job', 'get', job.id], { env })
  const { executor } = holder
  expect(stdout).toMatch(new RegExp(`^ +1 +${executor} +succeeded +stale_epoch +\\d+s ago$`, 'm'))
  const status = await cli(['status'], { env })
  expect(status.stdout).toMatch(/^taken from executors since the term began\n.+\n +new_epoch +1$/m)
})
