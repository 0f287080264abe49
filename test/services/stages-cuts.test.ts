import { expect, test } from 'vitest'
import type { Answer } from '../support/api.ts'
import { cutEverywhere, startCut, untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { manual, Pipelines } from '../support/stages.ts'

/** A session of the pools that ends at any statement of a move: 503 or the answer; asked again, one move. */

const db = useDatabase()

function expectAnswer({ status, body }: Answer) {
  expect([200, 503]).toContain(status)
  if (status === 503) expect(body.code).toBe('database_unavailable')
}

async function startCutting() {
  const cut = await startCut(db)
  return { cut, on: new Pipelines(cut.api, cut.queue, cut.executor, cut.epoch) }
}

/** The job, its history and the audit tell one story, whether or not it was moved. */
async function expectOneStory(on: Pipelines, id: string) {
  const { move } = await on.api.job(id)
  expect(await on.moves(id)).toHaveLength(move)
  const audits = await db.sql(
    "SELECT FROM audit WHERE subject = $1 AND action = 'job.transition'",
    [id],
  )
  expect(audits).toHaveLength(move)
  return move
}

test('transition: with a key it is made once, and answered the same', async () => {
  const { cut, on } = await startCutting()
  const move = (id: string) => on.transition(id, 'a', 'b', { idempotency_key: 'k' })
  await cutEverywhere('transition', cut, {
    prepare: async () => (await on.submit([manual('a'), manual('b')])).id,
    act: async (id) => expectAnswer(await move(id)),
    settle: async (id) => {
      await expectOneStory(on, id)
      const { body } = await untilServed(() => move(id))
      expect(body).toMatchObject({ job: { stage: 'b' }, moved: { move: 1 } })
      expect(await expectOneStory(on, id)).toBe(1)
    },
  })
})

test('begin, and commit: the claim and the move are one write, and answered the same', async () => {
  const { cut, on } = await startCutting()
  await cutEverywhere('transition begin', cut, {
    prepare: async () => (await on.submit([manual('a'), manual('b')])).id,
    act: async (id) => expectAnswer(await on.begin(id, 'a')),
    settle: async (id) => {
      const { waiting_for, transition } = await on.api.job(id)
      expect(waiting_for === 'transition').toBe(transition !== null)
      const { body } = await untilServed(() => on.begin(id, 'a'))
      expect((await on.begin(id, 'a')).body).toEqual(body)
    },
  })
  await cutEverywhere('transition commit', cut, {
    prepare: async () => {
      const { id } = await on.submit([manual('a'), manual('b')])
      return { id, token: (await on.begin(id, 'a')).body.token as string }
    },
    act: async ({ id, token }) => expectAnswer(await on.commit(id, token, 'b')),
    settle: async ({ id, token }) => {
      const { waiting_for } = await on.api.job(id)
      expect(waiting_for).toBe((await expectOneStory(on, id)) === 1 ? 'decision' : 'transition')
      const { body } = await untilServed(() => on.commit(id, token, 'b'))
      expect(body).toMatchObject({ job: { stage: 'b' }, moved: { move: 1, by: 'commit' } })
      expect(await expectOneStory(on, id)).toBe(1)
    },
  })
})

test('abandon: the end of the claim, its audit and the release are one write, and answered the same', async () => {
  const { cut, on } = await startCutting()
  const audits = (id: string) =>
    db.sql("SELECT FROM audit WHERE subject = $1 AND action = 'transition.abandon'", [id])
  await cutEverywhere('transition abandon', cut, {
    prepare: async () => {
      const { id } = await on.submit([manual('a'), manual('b')])
      return { id, token: (await on.begin(id, 'a')).body.token as string }
    },
    act: async ({ id, token }) => expectAnswer(await on.abandon(id, { token })),
    settle: async ({ id, token }) => {
      const { waiting_for, transition } = await on.api.job(id)
      const isOwned = waiting_for === 'transition'
      expect(transition !== null).toBe(isOwned)
      expect(await audits(id)).toHaveLength(isOwned ? 0 : 1)
      const again = await untilServed(() => on.abandon(id, { token }))
      expect(again).toMatchObject({ status: 200, body: { job: { waiting_for: 'decision' } } })
      expect(await audits(id)).toHaveLength(1)
      expect(await expectOneStory(on, id)).toBe(0)
    },
  })
})
