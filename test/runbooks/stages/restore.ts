import { expect } from 'vitest'
import { Claimant } from '../../support/locks.ts'
import type { Name, Staging } from '../ground.ts'
import { parseRunbook, readRunbook } from '../parse.ts'
import { takeJob } from './executors.ts'

/** Nobody is silent yet when somebody looks. */
const env = { UNDERSTUDY_HEARTBEAT_MS: '5000' }

type Holder = Awaited<ReturnType<typeof takeJob>>

/** The raise of the runbook itself. */
function readRaise(): string {
  const blocks = parseRunbook(readRunbook('restore-from-backup.md'))
  const raise = blocks.find(({ text }) => text.includes('UPDATE leader SET term'))
  if (!raise) throw new Error('the runbook raises nothing')
  return raise.text
}

export const restore: Staging = (ground) => {
  const backup = `${ground.database}_backup`
  let holder: Holder
  let lost = ''
  const lock = (name: Name) => new Claimant(ground.replica(name).api, 'deploy-eu', 'ci', 'b1')
  let lockFence = 0
  const copy = async (from: string, to: string) => {
    await ground.postgres.createDatabase(to, from)
  }
  return {
    'there is a backup, and life went on': async () => {
      await ground.startPair({ env })
      const { api } = ground.replica('one')
      const epoch = await api.register('gpu-7', { queues: ['render'] })
      await api
        .submit({ kind: 'frame', queue: 'done' })
        .then(({ id }) =>
          ground.sql("UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE id = $1", [
            id,
          ]),
        )
      const { id } = await api.submit({ kind: 'frame', queue: 'render' })
      lockFence = await lock('one').take()
      const token = { name: 'gpu-boxes', role: 'executor', executor_id: 'gpu-*' }
      const created = await api.must(201, api.post('/v1/tokens', token))
      ground.env.JOB = id
      for (const name of ['two', 'one'] as const) await ground.stop(name, 'SIGKILL')
      await copy(ground.database, backup)
      await ground.start('two', { env })
      const after = ground.replica('two').api
      await after.untilActive()
      await after.must(200, after.request('DELETE', `/v1/tokens/${created.body.id}`))
      // Without the raise, another life of this database gives out the same (executor, epoch, fence).
      holder = await takeJob(after, 'gpu-7', epoch)
      expect(holder.held).toEqual({ job_id: id, fence: 1 })
      lost = (await after.submit({ kind: 'frame', queue: 'render' })).id
    },
    'all replicas are stopped': async () => {
      await expect(ground.run({ language: 'sql', text: readRaise() })).rejects.toThrow(
        'a replica still runs',
      )
      await ground.stop('two')
    },
    'the backup is restored': async () => {
      await ground.postgres.dropDatabase(ground.database)
      await copy(backup, ground.database)
      await ground.postgres.dropDatabase(backup)
      expect(await ground.sql('SELECT term FROM leader')).toEqual([{ term: '1' }])
    },
    'the replicas are started': async () => {
      await ground.startPair({ env })
      const { api } = ground.replica('one')
      const beat = { epoch: holder.epoch, assignments: [holder.held] }
      // Whatever was given out before the loss is nobody's any more, though it may well be done again.
      expect(await api.post('/v1/executors/gpu-7/heartbeat', beat)).toMatchObject({
        status: 409,
        body: { code: 'stale_epoch' },
      })
      expect((await api.get(`/v1/jobs/${lost}`)).status).toBe(404)
      expect((await lock('one').renew(lockFence)).body).toMatchObject({ code: 'stale_fence' })
      const other = new Claimant(api, 'migrate-eu')
      expect(await other.take()).toBe(1_000_001)
    },
    'executors were started again': async () => {
      const { api } = ground.replica('one')
      const again = await takeJob(api, 'gpu-7')
      expect(again).toMatchObject({ epoch: 1_000_002, held: { fence: 1_000_001 } })
      const stale = { epoch: holder.epoch, reports: [{ ...holder.held, outcome: 'failed' }] }
      const { body } = await api.post('/v1/executors/gpu-7/report', stale)
      expect(body.results).toMatchObject([{ reason: 'stale_epoch', job_state: 'leased' }])
      expect(
        await ground.sql("SELECT fence FROM jobs WHERE queue = 'done' AND state = 'cancelled'"),
      ).toEqual([{ fence: '1000000' }])
    },
  }
}
