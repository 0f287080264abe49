import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { adminToken } from '../support/replica.ts'
import { startPipelines } from '../support/stages.ts'
import { tempFolder } from '../support/temp.ts'

const db = useDatabase()

test('a pipeline is submitted, looked at, approved, sent back and taken from its owner', async () => {
  const { api, on } = await startPipelines(db)
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const run = (...args: string[]) => cli(args, { env })
  const submit = ['submit', '--kind', 'k', '--queue', on.queue, '--json']
  const flags = ['--stage', 'build:make', '--stage', 'ok=manual', '--stage', 'ship']
  const { job } = (await run(...submit, ...flags)).json()
  expect(job.stages).toMatchObject([
    { name: 'build', kind: 'make' },
    { name: 'ok', manual: true },
    { name: 'ship', kind: 'k' },
  ])
  await on.work('image 7')
  const get = await run('job', 'get', job.id)
  expect(get.stdout).toMatch(/^state +waiting for a decision$/m)
  expect(get.stdout).toMatch(/^ {2}build +make +succeeded +"image 7"/m)
  expect((await run('job', 'approve', job.id, '--stage', 'ship')).code).toBe(2)
  const approved = await run('job', 'approve', job.id, '--stage', 'ok', '--reason', 'fine')
  expect(approved.stdout).toBe('moved from ok to ship; it is available\n')
  const late = await run('job', 'approve', job.id, '--stage', 'ok', '--json')
  expect(late.code).toBe(1)
  expect(JSON.parse(late.stderr).error.code).toBe('stage_mismatch')
  await on.begin(job.id, 'ship', { owner: 'deployer' })
  expect((await run('job', 'get', job.id)).stdout).toMatch(/^owned by +deployer until /m)
  const taken = await run('job', 'abandon', job.id, '--note', 'gone')
  expect(taken.stdout).toBe('nobody owns its next move; it is available at stage ship\n')
  const back = ['job', 'move', job.id, '--from', 'ship', '--to', 'build', '--move', '2', '--json']
  expect((await run(...back)).json()).toMatchObject({ replayed: false, moved: { move: 3 } })
  const moves = await run('job', 'moves', job.id)
  expect(moves.stdout).toMatch(/^ {2}2 +ok +ship +transition, token bootstrap +fine/m)
})

test('stages come from a file, too; what is none is refused', async () => {
  const { api, on } = await startPipelines(db)
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const file = join(tempFolder('stages'), 'stages.json')
  writeFileSync(file, JSON.stringify([{ name: 'a', requires: { gpu: 'yes' } }]))
  const submit = ['submit', '--kind', 'k', '--queue', on.queue, '--json']
  const { job } = (await cli([...submit, '--stages', `@${file}`], { env })).json()
  expect(job).toMatchObject({ stage: 'a', requires: { gpu: 'yes' } })
  for (const wrong of [
    ['--stage', 'a='],
    ['--stage', ''],
    ['--stage', 'a', '--stages', '[]'],
  ]) {
    expect((await cli([...submit, ...wrong], { env })).code).toBe(2)
  }
})
