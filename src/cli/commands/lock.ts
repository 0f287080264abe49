import { randomUUID } from 'node:crypto'
import { Command } from 'commander'
import type { LockState } from '../../contract/locks.ts'
import { type LockFlags, ownerOf, withLockOptions } from '../lock-options.ts'
import { lockTable } from '../lock-table.ts'
import { type ClientFlags, json, useClient, wholeNumber, withClientOptions } from '../options.ts'
import { printJson, printLines } from '../print.ts'
import { lockRunCommand } from './lock-run.ts'

interface ListFlags extends ClientFlags {
  state?: LockState
  cursor?: string
}

interface AcquireFlags extends LockFlags {
  bootId?: string
  metadata?: unknown
}

interface HolderFlags extends ClientFlags {
  owner: string
  bootId: string
  fence: number
}

interface ForceReleaseFlags extends ClientFlags {
  note: string
  fence?: number
}

export function lockCommand(): Command {
  return new Command('lock')
    .description('named locks, for scripts and daemons')
    .addCommand(list())
    .addCommand(acquire())
    .addCommand(renew())
    .addCommand(release())
    .addCommand(forceRelease())
    .addCommand(lockRunCommand())
}

function list(): Command {
  return withClientOptions(
    new Command('list')
      .description('list named locks that somebody has')
      .option('--state <state>', 'held, stale or free; default: held and stale')
      .option('--cursor <name>', 'next_cursor of the page before'),
  ).action(listLocks)
}

function acquire(): Command {
  return withLockOptions(
    new Command('acquire')
      .description(
        'acquire a lock: prints `FENCE OWNER BOOT_ID`; renew it every 5 s, or third of the TTL',
      )
      .argument('<name>')
      .option('--boot-id <id>', 'which process of the owner; default: a new one')
      .option('--metadata <json>', 'for those who look at the lock; @file, or - for stdin', json),
  ).action(acquireLock)
}

function renew(): Command {
  return withHolderOptions(
    new Command('renew').description('show that its holder is alive').argument('<name>'),
  ).action(renewLock)
}

function release(): Command {
  return withHolderOptions(
    new Command('release').description('give a lock up').argument('<name>'),
  ).action(releaseLock)
}

function forceRelease(): Command {
  return withClientOptions(
    new Command('force-release')
      .description('take a lock away from whoever has it; audited')
      .argument('<name>')
      .requiredOption('--note <text>', 'why')
      .option('--fence <n>', 'only from the holder with this fence', wholeNumber(1)),
  ).action(forceReleaseLock)
}

function withHolderOptions(command: Command): Command {
  return withClientOptions(command)
    .requiredOption('--fence <n>', 'as acquire printed it', wholeNumber(1))
    .requiredOption('--owner <owner>', 'as acquire printed it')
    .requiredOption('--boot-id <id>', 'as acquire printed it')
}

function holderOf({ owner, bootId, fence }: HolderFlags) {
  return { owner, boot_id: bootId, fence }
}

async function listLocks({ state, cursor, ...flags }: ListFlags) {
  await useClient(flags, async (client) => {
    const page = await client.locks.list({ state, cursor })
    if (flags.json) return printJson(page)
    printLines(lockTable(page.locks))
    if (page.next_cursor !== null) printLines(['', `more: --cursor ${page.next_cursor}`])
  })
}

async function acquireLock(name: string, flags: AcquireFlags) {
  const { bootId: boot_id = randomUUID(), ttl: ttl_ms, wait: wait_ms, metadata } = flags
  const owner = ownerOf(flags)
  await useClient(flags, async (client) => {
    const wanted = { owner, boot_id, ttl_ms, wait_ms, job_id: flags.job, metadata }
    const holding = await client.locks.acquire(name, wanted)
    if (flags.json) return printJson({ ...holding, owner, boot_id })
    printLines([`${holding.fence} ${owner} ${boot_id}`])
  })
}

async function renewLock(name: string, flags: HolderFlags) {
  await useClient(flags, async (client) => {
    const holding = await client.locks.renew(name, holderOf(flags))
    if (flags.json) printJson(holding)
    else printLines([`${name} is held until ${holding.expires_at}`])
  })
}

async function releaseLock(name: string, flags: HolderFlags) {
  await useClient(flags, async (client) => {
    const released = await client.locks.release(name, holderOf(flags))
    if (flags.json) printJson(released)
    else printLines([`${name} is free`])
  })
}

async function forceReleaseLock(name: string, { note, fence, ...flags }: ForceReleaseFlags) {
  await useClient(flags, async (client) => {
    const lock = await client.locks.forceRelease(name, { note, fence })
    if (flags.json) printJson({ lock })
    else printLines([`${name} is ${lock.state}`])
  })
}
