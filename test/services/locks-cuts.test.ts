import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { Claimant, lockName } from '../support/locks.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

/** A session of the pools that ends at any statement of a lock: 503 or the answer, and asked again the same. */

const db = useDatabase()

function expectAnswer({ status, body }: Answer) {
  expect([200, 503]).toContain(status)
  if (status === 503) expect(body.code).toBe('database_unavailable')
}

const fenceOf = async (name: string) =>
  (await db.sql<{ fence: number }>('SELECT fence FROM locks WHERE name = $1', [name]))[0]?.fence

test('acquire: one fence is spent, however often it is asked for', async () => {
  const cut = await startCut(db)
  await cutEverywhere('lock acquire', cut, {
    prepare: async () => {
      const before = new Claimant(cut.api, lockName())
      await before.release(await before.take())
      return new Claimant(cut.api, before.name)
    },
    act: async (claimant) => expectAnswer(await claimant.acquire()),
    settle: async (claimant) => {
      const { body } = await untilServed(() => claimant.acquire())
      expect(body.fence).toBe(2)
      expect((await new Claimant(cut.api, claimant.name).acquire()).status).toBe(409)
    },
  })
})

test('acquire: who queues behind one that Postgres kept waiting is refused with it, and not in turn', async () => {
  const { api } = await startActive(db)
  const name = lockName()
  const before = new Claimant(api, name)
  await before.release(await before.take())
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN')
  await blocker.query('SELECT FROM locks WHERE name = $1 FOR UPDATE', [name])
  const asked = Array.from({ length: 4 }, () => new Claimant(api, name).acquire())
  await Promise.race(asked)
  await blocker.query('ROLLBACK')
  for (const { status, body } of await Promise.all(asked)) {
    expect([status, body.code]).toEqual([503, 'database_unavailable'])
  }
  expect(await new Claimant(api, name).take()).toBe(2)
})

test('renew and release: answered the same, and nothing is freed that another has', async () => {
  const cut = await startCut(db)
  for (const verb of ['renew', 'release'] as const) {
    await cutEverywhere(`lock ${verb}`, cut, {
      prepare: async () => {
        const claimant = new Claimant(cut.api, lockName())
        return { claimant, fence: await claimant.take() }
      },
      act: async ({ claimant, fence }) => expectAnswer(await claimant[verb](fence)),
      settle: async ({ claimant, fence }) => {
        expect((await untilServed(() => claimant[verb](fence))).status).toBe(200)
        expect((await claimant.release(fence)).status).toBe(200)
        const next = new Claimant(cut.api, claimant.name)
        expect(await next.take()).toBe(fence + 1)
        expect((await claimant.release(fence)).body.code).toBe('stale_fence')
        expect((await next.renew(fence + 1)).status).toBe(200)
      },
    })
  }
})

test('force-release: the lock and its audit are one write', async () => {
  const cut = await startCut(db)
  const force = (name: string) =>
    cut.api.post(`/v1/locks/${name}/force-release`, { note: 'n', fence: 1 })
  const audits = (name: string) => db.sql('SELECT FROM audit WHERE subject = $1', [name])
  await cutEverywhere('lock force-release', cut, {
    prepare: async () => {
      const claimant = new Claimant(cut.api, lockName())
      await claimant.take()
      return claimant
    },
    act: async ({ name }) => expectAnswer(await force(name)),
    settle: async (claimant) => {
      const { name } = claimant
      const { state } = (await cut.api.get(`/v1/locks/${name}`)).body.lock
      expect([
        ['held', 0],
        ['free', 1],
      ]).toContainEqual([state, (await audits(name)).length])
      expect((await untilServed(() => force(name))).body.lock.state).toBe('free')
      expect(await audits(name)).toHaveLength(1)
      expect(await fenceOf(name)).toBe(1)
    },
  })
})
