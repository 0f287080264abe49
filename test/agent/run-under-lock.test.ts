import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runUnderLock } from '../../src/agent/run-under-lock.ts'
import { startHeld } from '../support/held-lock.ts'
import { tempFolder } from '../support/temp.ts'

test('what is to be run under a lock is not started when the time has come to give it up', async () => {
  const { clock, held } = await startHeld()
  const started = join(tempFolder('under-lock'), 'started')
  const options = { command: 'touch', args: [started], env: process.env, graceMs: 0 }
  // Stalled between the renewal and the start: no timer has fired.
  clock.stall(9_000)
  expect(await runUnderLock(held, options)).toBeUndefined()
  expect([existsSync(started), held.end]).toEqual([false, 'unconfirmed'])
})

test('it is started while the lock is held, and its exit code returned', async () => {
  const { held } = await startHeld()
  const args = ['-c', 'exit "$UNDERSTUDY_LOCK_FENCE"']
  expect(await runUnderLock(held, { command: 'sh', args, env: process.env, graceMs: 0 })).toBe(7)
})
