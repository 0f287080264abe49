import { Command } from 'commander'
import { inheritedEnv } from '../../config.ts'
import type { HeldLock } from '../../sdk/index.ts'
import { LockLostError, NotStartedError } from '../exit.ts'
import { type LockFlags, ownerOf, withLockOptions } from '../lock-options.ts'
import { duration, useClient } from '../options.ts'

interface RunFlags extends LockFlags {
  grace: number
}

export function lockRunCommand(): Command {
  return withLockOptions(
    new Command('run')
      .description('run a command while its lock is held, and stop it before another may have it')
      .argument('<name>')
      .argument('<command...>', 'after --: the command and its arguments')
      .option('--grace <duration>', 'between SIGTERM and SIGKILL, at most 3s', duration, 3_000),
  ).action(lockRun)
}

/** Exits as the command does. */
async function lockRun(name: string, words: string[], flags: RunFlags) {
  await useClient(flags, async (client) => {
    const held = await client.locks.hold(name, {
      owner: ownerOf(flags),
      ttlMs: flags.ttl,
      waitMs: flags.wait,
      jobId: flags.job,
      graceMs: flags.grace,
    })
    let code: number | undefined
    try {
      code = await start(held, words, flags)
    } finally {
      await giveUp(held)
    }
    process.exitCode = code
    if (!held.end) return
    const outcome = code === undefined ? 'not started' : 'stopped'
    throw new LockLostError(`${name}: ${reasons[held.end]}; the command was ${outcome}`)
  })
}

const reasons = {
  lost: 'the lock is no longer ours',
  unconfirmed: 'no replica has renewed the lock in time',
}

async function start(held: HeldLock, [command = '', ...args]: string[], { grace }: RunFlags) {
  const { runUnderLock } = await import('../../agent/run-under-lock.ts')
  try {
    const options = { command, args, env: inheritedEnv(), graceMs: grace }
    return await runUnderLock(held, options)
  } catch (error) {
    throw new NotStartedError(`${command}: ${(error as Error).message}`)
  }
}

/** The command has ended as it has, whether or not anybody hears that its lock is free. */
async function giveUp(held: HeldLock): Promise<void> {
  try {
    await held.release()
  } catch (error) {
    const { message } = error as Error
    process.stderr.write(`${held.name} is not released, and goes stale by itself: ${message}\n`)
  }
}
