import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cliPath } from '../../src/dev/replica-process.ts'
import { useDatabase } from '../support/database.ts'
import { isAlive, startAgent, untilFile } from './start-agent.ts'

const db = useDatabase()

test('invariant 6: a cancel stops the command, which ignores SIGTERM, and cleans up after it', async () => {
  const { client, queue, folder } = await startAgent(
    db,
    `trap '' TERM; echo $$ > started; while :; do sleep 0.05; done`,
    {
      flags: [
        // The cleaning has as long, too, and its shell must first start.
        '--cancel-grace-ms',
        '3000',
        '--on-cancel',
        'kill -0 $(cat started) 2>/dev/null || echo "$UNDERSTUDY_JOB_ID $UNDERSTUDY_CANCEL_REASON" > cleaned',
      ],
    },
  )
  const { job } = await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  await client.cancelJob(job.id, { reason: 'too dear' })
  expect(await client.waitForJob(job.id, 40_000)).toMatchObject({ state: 'cancelled', attempt: 1 })
  expect(isAlive(pid)).toBe(false)
  expect(readFileSync(join(folder, 'cleaned'), 'utf8')).toBe(`${job.id} too dear\n`)
})

test('what a command achieved in spite of a cancel counts, and nothing is cleaned up', async () => {
  const { client, queue, folder } = await startAgent(
    db,
    `trap 'echo 7; exit 0' TERM; echo $$ > started; while :; do sleep 0.05; done`,
    { flags: ['--on-cancel', 'touch cleaned'] },
  )
  const { job } = await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'started'))
  await client.cancelJob(job.id)
  expect(await client.waitForJob(job.id, 40_000)).toMatchObject({ state: 'succeeded', result: 7 })
  expect(() => readFileSync(join(folder, 'cleaned'))).toThrow()
})

test('a shell marks its critical section, and learns at its end that it is cancelled', async () => {
  const understudy = `"${process.execPath}" "${cliPath}"`
  const { client, queue, folder } = await startAgent(
    db,
    // The heartbeat may tell of the cancel before the answer to `leave` has come: what asks is not in the group that is
    // stopped then, and the shell waits for it.
    `trap : TERM
    ${understudy} critical enter --ceiling-ms 60000 > entered.tmp && mv entered.tmp started
    while [ ! -e go ]; do sleep 0.02; done
    setsid -w ${understudy} critical leave > left; exit 1`,
    { flags: ['--cancel-grace-ms', '30000'] },
  )
  const { job } = await client.submit({ kind: 'x', queue })
  expect(await untilFile(join(folder, 'started'))).toMatch(/^critical until /)
  const { critical_until } = await client.cancelJob(job.id, { reason: 'stop' })
  expect(critical_until).not.toBe(null)
  await writeFile(join(folder, 'go'), '')
  expect((await client.waitForJob(job.id, 40_000)).state).toBe('cancelled')
  expect(readFileSync(join(folder, 'left'), 'utf8')).toBe('cancelled stop\n')
})
