import { expect, test } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { cli } from '../support/cli.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { adminToken } from '../support/replica.ts'
import { startAgent } from './start-agent.ts'

const db = useDatabase()
const understudy = `"${process.execPath}" "${cliPath}"`

test('a shell asks the ledger, acts once, and a later attempt is told the result', async () => {
  const { client, queue } = await startAgent(
    db,
    `set -- $(${understudy} effect begin deploy)
    if [ "$1" = proceed ]; then
      ${understudy} effect commit deploy "$2" --result '{"release":41}' >&2
      exit 1
    fi
    echo "{\\"outcome\\":\\"$1\\",\\"told\\":$2}"`,
  )
  const backoff = { base_ms: 1, cap_ms: 1 }
  const { job } = await client.submit({ kind: 'x', queue, backoff })
  expect(await client.waitForJob(job.id, 60_000)).toMatchObject({
    state: 'succeeded',
    attempt: 2,
    result: { outcome: 'committed', told: { release: 41 } },
  })
  expect((await client.listEffects(job.id)).effects).toMatchObject([
    { key: 'deploy', state: 'committed' },
  ])
})

test('what a shell left open holds the job, until an operator has resolved it', async () => {
  const { api, client, queue } = await startAgent(
    db,
    `set -- $(${understudy} effect begin deploy)
    [ "$1" = committed ] && echo '"went on"' && exit 0
    exit 1`,
  )
  const backoff = { base_ms: 1, cap_ms: 1 }
  const { job } = await client.submit({ kind: 'x', queue, backoff })
  while ((await api.job(job.id)).state !== 'waiting') await pause()
  const env = { UNDERSTUDY_URLS: api.url, UNDERSTUDY_TOKEN: adminToken }
  const list = await cli(['effect', 'list', job.id], { env })
  expect(list.stdout).toMatch(/^ {2}deploy +in_doubt, the job waits +hold /m)
  const flags = ['--outcome', 'committed', '--note', 'seen']
  const resolved = await cli(['effect', 'resolve', job.id, 'deploy', ...flags], { env })
  expect(resolved).toMatchObject({ code: 0, stdout: 'deploy is committed\n' })
  expect((await client.waitForJob(job.id, 60_000)).result).toBe('went on')
})

test('outside of an agent it says what it has to be given', async () => {
  const env = { UNDERSTUDY_URLS: 'http://127.0.0.1:9', UNDERSTUDY_TOKEN: 't' }
  const { code, stderr } = await cli(['effect', 'begin', 'k'], { env })
  expect(code).toBe(2)
  expect(stderr).toBe(
    'error: give --job or UNDERSTUDY_JOB_ID, or run this as the command of an agent\n',
  )
})
