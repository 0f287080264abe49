import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { isAlive, startAgent, terminate, untilFile } from './start-agent.ts'

const db = useDatabase()

test('a run timeout ends the whole process group, also what ignores SIGTERM', async () => {
  const { client, queue, folder } = await startAgent(
    db,
    `trap '' TERM; sh -c 'trap "" TERM; echo $$ > grandchild; while :; do sleep 0.05; done' & wait`,
    { flags: ['--grace-ms', '200'] },
  )
  // Long enough for both shells to ignore what comes then.
  const { job } = await client.submit({ kind: 'x', queue, run_timeout_ms: 6_000, max_attempts: 1 })
  const grandchild = Number(await untilFile(join(folder, 'grandchild')))
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'run_timeout' },
  })
  while (isAlive(grandchild)) await pause()
})

test('SIGTERM: finishes what it holds, takes nothing new, and exits 0', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(
    db,
    'echo $$ > started; while [ ! -e go ]; do sleep 0.02; done; echo 7',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'started'))
  terminate(child)
  const later = await client.submit({ kind: 'x', queue })
  await writeFile(join(folder, 'go'), 'go')
  expect(await exited).toBe(0)
  expect(events.fired.filter(({ type }) => type === 'started')).toHaveLength(1)
  expect(await client.getJob(job.id)).toMatchObject({ state: 'succeeded', result: 7 })
  expect(await client.getJob(later.job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('a second SIGTERM stops the commands at once, and the jobs go back unspent', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(
    db,
    'echo $$ > started; exec sleep 100',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  terminate(child)
  await events.wait('draining')
  terminate(child)
  expect(await exited).toBe(0)
  expect(isAlive(pid)).toBe(false)
  expect(await client.getJob(job.id)).toMatchObject({ state: 'available', attempt: 0 })
})

test('what ignores SIGTERM does not outlive a command that heeds it', async () => {
  const { client, queue, folder, child, exited } = await startAgent(
    db,
    `sh -c 'trap "" TERM; echo $$ > grandchild; while [ -e grandchild ]; do sleep 0.05; done' &
    exec sleep 100`,
    { flags: ['--grace-ms', '300'] },
  )
  await client.submit({ kind: 'x', queue })
  const grandchild = Number(await untilFile(join(folder, 'grandchild')))
  // What it holds has as long to end by itself, and is stopped then.
  terminate(child)
  await exited
  while (isAlive(grandchild)) await pause()
})

test('what saves its work on SIGTERM has its grace, though the command itself went at once', async () => {
  const { client, queue, folder, events, child } = await startAgent(
    db,
    `sh -c 'trap "sleep 0.3; echo saved > saved; exit" TERM; echo 1 > ready; while :; do sleep 0.05; done' &
    exec sleep 100`,
  )
  await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'ready'))
  terminate(child)
  await events.wait('draining')
  terminate(child)
  await events.wait('reported')
  expect(readFileSync(join(folder, 'saved'), 'utf8').trim()).toBe('saved')
})

test('what a command leaves in the background holds up neither its result nor the agent', async () => {
  const { client, queue, child, exited } = await startAgent(
    db,
    'touch here; while [ -e here ]; do sleep 0.05; done & echo 7',
  )
  const { job } = await client.submit({ kind: 'x', queue })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ state: 'succeeded', result: 7 })
  terminate(child)
  expect(await exited).toBe(0)
})

test('an agent that is refused exits once its commands have ended', async () => {
  const { api, client, queue, folder, exited } = await startAgent(
    db,
    `trap 'sleep 0.3; echo done > ended; exit' TERM; echo $$ > started
    while [ -e started ]; do sleep 0.05; done`,
  )
  await client.submit({ kind: 'x', queue })
  await untilFile(join(folder, 'started'))
  await api.register(queue, { queues: ['another'] })
  expect(await exited).toBe(1)
  expect(await untilFile(join(folder, 'ended'))).toBe('done')
})

const stubborn = `trap '' TERM; echo $$ > started; while [ -e started ]; do sleep 0.05; done`

test('a signal to an agent that is refused kills what still runs', async () => {
  const { api, client, queue, folder, events, child, exited } = await startAgent(db, stubborn, {
    flags: ['--grace-ms', '60000'],
  })
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  await api.register(queue, { queues: ['another'] })
  await events.wait('told_to_stop')
  while (isAlive(pid)) {
    terminate(child)
    await pause()
  }
  expect(await exited).toBe(1)
})

test('a third SIGTERM kills the commands and exits', async () => {
  const { client, queue, folder, events, child, exited } = await startAgent(db, stubborn, {
    flags: ['--grace-ms', '60000'],
  })
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  terminate(child)
  await events.wait('draining')
  terminate(child)
  await events.wait('told_to_stop')
  terminate(child)
  expect(await exited).toBe(1)
  while (isAlive(pid)) await pause()
})

test('with the control plane gone, a stopped agent says so and exits', async () => {
  const { app, client, queue, folder, events, child, exited, lines } = await startAgent(
    db,
    'echo $$ > started; exec sleep 100',
  )
  await client.submit({ kind: 'x', queue })
  const pid = Number(await untilFile(join(folder, 'started')))
  await app.stop()
  terminate(child)
  await events.wait('draining')
  terminate(child)
  expect(await exited).toBe(5)
  expect(isAlive(pid)).toBe(false)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ error: { code: 'unavailable' } })
})
