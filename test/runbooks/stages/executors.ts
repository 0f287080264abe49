import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Api } from '../../support/api.ts'
import type { Agent, Ground, Name, Staging } from '../ground.ts'

/** What agents run here: it takes until this file is there. */
const untilDone = 'until [ -e done ]; do sleep 0.05; done; echo \'{"frames":1}\''

/** A job of queue `render`, in `$JOB`, once this agent holds it and has shown that it does. */
async function giveJob(ground: Ground, agent: Agent, name: Name): Promise<void> {
  const { id } = await ground.replica(name).api.submit({ kind: 'frame', queue: 'render' })
  ground.env.JOB = id
  await agent.said('started')
  await ground.untilFound("SELECT FROM jobs WHERE id = $1 AND state = 'leased' AND NOT offered", [
    id,
  ])
}

/** As if a lease TTL had gone by since this executor was last heard. */
async function letLeaseExpire(ground: Ground, executorId: string): Promise<void> {
  const ago = "clock_timestamp() - interval '1 minute'"
  await ground.sql(
    `UPDATE terms SET deadline_floor_at = ${ago} WHERE deadline_floor_at IS NOT NULL`,
  )
  await ground.sql(`UPDATE executors SET heartbeat_at = ${ago} WHERE executor_id = $1`, [
    executorId,
  ])
  await ground.sql(`UPDATE jobs SET lease_expires_at = ${ago} WHERE executor_id = $1`, [executorId])
}

/** An executor that takes the next job of `render`, and shows that it holds it. */
export async function takeJob(api: Api, executorId: string, registered?: number) {
  const epoch = registered ?? (await api.register(executorId, { queues: ['render'] }))
  const [given] = await api.poll(executorId, epoch, { wait_ms: 20_000 })
  const held = { job_id: given?.job_id, fence: given?.fence }
  await api.heartbeat(executorId, epoch, [held])
  return {
    held,
    epoch,
    report: async (report: object) =>
      (await api.report(executorId, epoch, { ...held, ...report }))[0],
  }
}

const isFinal = "SELECT FROM jobs WHERE id = $1 AND state IN ('succeeded', 'failed')"

export const executorLost: Staging = (ground) => {
  let agent: Agent
  return {
    'the machine of gpu-7 lost its power': async () => {
      await ground.startPair()
      ground.lookAt('one')
      agent = await ground.agent('gpu-7', untilDone)
      await giveJob(ground, agent, 'one')
      agent.kill('SIGKILL')
      await agent.exited
      await ground.until(async () => {
        const { body } = await ground.replica('one').api.get('/v1/executors/gpu-7')
        return body.state === 'suspect'
      })
    },
    'gpu-7 was started again': async () => {
      agent = await ground.agent('gpu-7', untilDone)
      await agent.said('started')
    },
    'gpu-7 works, and hangs': async () => {
      await ground.untilFound('SELECT FROM jobs WHERE id = $1 AND NOT offered AND epoch = 2', [
        ground.env.JOB,
      ])
    },
    'gpu-8 takes over': async () => {
      await agent.exited
      writeFileSync(join(ground.folder, 'done'), '')
      await ground.agent('gpu-8', untilDone)
      await ground.untilFound(isFinal, [ground.env.JOB])
    },
  }
}

export const staleFences: Staging = (ground) => ({
  'a frozen executor reported late': async () => {
    // What must never be is looked for at every twelfth interval.
    await ground.startPair({ env: { UNDERSTUDY_SWEEP_INTERVAL_MS: '100' } })
    ground.lookAt('one')
    const { api } = ground.replica('one')
    const { id } = await api.submit({ kind: 'frame', queue: 'render' })
    ground.env.JOB = id
    const frozen = await takeJob(api, 'gpu-7')
    await letLeaseExpire(ground, 'gpu-7')
    await ground.untilFound('SELECT FROM attempts WHERE job_id = $1', [id])
    const other = await takeJob(api, 'gpu-8')
    const done = { outcome: 'succeeded', result: { frames: 1 } }
    expect(await frozen.report(done)).toMatchObject({ status: 'rejected', reason: 'stale_fence' })
    expect(await other.report(done)).toMatchObject({ status: 'accepted' })
    expect(await frozen.report({ outcome: 'failed' })).toMatchObject({ reason: 'already_final' })
    await ground.untilFound(isFinal, [ground.env.JOB])
  },
  'a sweep has looked': async () => {
    await ground.until(async () => {
      const { body } = await ground.replica('one').api.get('/metrics')
      return /^understudy_sweep_seconds_count\{sweep="verify"\} [1-9]/m.test(body)
    })
  },
})
