import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { patient, Worker } from '../support/health.ts'

/** A session of the pools that ends at any statement: what an executor is given goes by what was committed, whether
 *  or not its answer came. */

const db = useDatabase()

async function start() {
  const cut = await startCut(db, patient)
  const register = async () => {
    const name = `e-${randomUUID().slice(0, 8)}`
    return new Worker(cut.api, name, name, await cut.api.register(name, { queues: [name] }))
  }
  return { cut, register }
}

test('invariant 4: a report that degrades counts once, and the next poll goes by it', async () => {
  const { cut, register } = await start()
  await cutEverywhere('a report that degrades', cut, {
    prepare: async () => {
      const worker = await register()
      await worker.submit(4)
      const [job] = await worker.poll({ max: 1 })
      await db.sql('UPDATE executors SET failures = 2 WHERE executor_id = $1', [worker.executor])
      const error = { code: 'x', retryable: false }
      const reports = [{ job_id: job?.job_id, fence: job?.fence, outcome: 'failed', error }]
      const report = () => worker.post('report', { epoch: worker.epoch, reports })
      return { worker, report }
    },
    act: async ({ report }) => expect([200, 503]).toContain((await report()).status),
    settle: async ({ worker, report }) => {
      const { body } = await untilServed(report)
      expect(['accepted', 'duplicate']).toContain(body.results[0].status)
      expect(await worker.poll()).toHaveLength(1)
      expect(await worker.get()).toMatchObject({ health: 'degraded', failures: 0 })
      expect(await worker.history()).toHaveLength(1)
    },
  })
})

test('invariant 4: of a report that makes healthy the next poll knows, too', async () => {
  const { cut, register } = await start()
  await cutEverywhere('a report that makes healthy', cut, {
    prepare: async () => {
      const worker = await register()
      await db.sql(
        `UPDATE executors SET health = 'degraded', successes = 4, changes = changes + 1
          WHERE executor_id = $1`,
        [worker.executor],
      )
      // Memory learns it by a beat.
      await worker.api.heartbeat(worker.executor, worker.epoch)
      await worker.submit(3)
      const [job] = await worker.poll({ max: 3 })
      const reports = [{ job_id: job?.job_id, fence: job?.fence, outcome: 'succeeded' }]
      const report = () => worker.post('report', { epoch: worker.epoch, reports })
      return { worker, report }
    },
    act: async ({ report }) => expect([200, 503]).toContain((await report()).status),
    settle: async ({ worker, report }) => {
      await untilServed(report)
      expect(await worker.get()).toMatchObject({ health: 'healthy' })
      expect(await worker.poll({ max: 3 })).toHaveLength(2)
    },
  })
})

test('invariant 4: a drain holds from its commit on', async () => {
  const { cut, register } = await start()
  await cutEverywhere('drain', cut, {
    prepare: register,
    act: async (worker) => expect([200, 503]).toContain((await worker.post('drain')).status),
    settle: async (worker) => {
      const isDraining = (await worker.get()).draining
      await worker.submit()
      expect(await worker.poll()).toHaveLength(isDraining ? 0 : 1)
      expect((await untilServed(() => worker.post('drain'))).body).toMatchObject({ draining: true })
      expect((await worker.api.heartbeat(worker.executor, worker.epoch)).drain).toBe(true)
      expect(await worker.history()).toHaveLength(1)
    },
  })
})

test('invariant 4: a clear and its audit are one write, and the next poll goes by it', async () => {
  const { cut, register } = await start()
  const audits = ({ executor }: Worker) =>
    db.sql("SELECT FROM audit WHERE subject = $1 AND action = 'executor.clear'", [executor])
  await cutEverywhere('clear', cut, {
    prepare: async () => {
      const worker = await register()
      await db.sql(
        `UPDATE executors SET health = 'faulty', changes = changes + 1 WHERE executor_id = $1`,
        [worker.executor],
      )
      // Memory learns it by a beat.
      await worker.api.heartbeat(worker.executor, worker.epoch)
      await worker.submit()
      expect(await worker.poll()).toEqual([])
      return worker
    },
    act: async (worker) => expect([200, 503]).toContain((await worker.post('clear')).status),
    settle: async (worker) => {
      const isCleared = (await worker.get()).health === 'healthy'
      expect(await audits(worker)).toHaveLength(isCleared ? 1 : 0)
      expect(await worker.history()).toHaveLength(isCleared ? 1 : 0)
      expect((await untilServed(() => worker.post('clear'))).body.health).toBe('healthy')
      expect(await worker.poll()).toHaveLength(1)
      expect(await worker.history()).toHaveLength(1)
    },
  })
})

test('invariant 4: a deregistration gives back once, and is answered the same', async () => {
  const { cut, register } = await start()
  await cutEverywhere('deregister', cut, {
    prepare: async () => {
      const worker = await register()
      const [id = ''] = await worker.submit()
      await worker.poll()
      return { worker, id }
    },
    act: async ({ worker }) => {
      const { status } = await worker.post('deregister', { epoch: worker.epoch })
      expect([200, 503]).toContain(status)
    },
    settle: async ({ worker, id }) => {
      const { epoch, executor } = worker
      const again = await untilServed(() => worker.post('deregister', { epoch }))
      expect(again).toMatchObject({ status: 200, body: { executor_id: executor, epoch } })
      expect(await cut.api.job(id)).toMatchObject({
        state: 'available',
        attempt: 0,
        lost_leases: 0,
      })
      expect((await worker.post('poll', { epoch, wait_ms: 0 })).status).toBe(409)
      expect(await worker.history()).toHaveLength(1)
    },
  })
})
