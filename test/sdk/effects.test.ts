import { expect, test } from 'vitest'
import { EffectNotDone, type JobContext } from '../../src/sdk/index.ts'
import { useDatabase } from '../support/database.ts'
import { startExecutor } from './start-executor.ts'

const db = useDatabase()

test('invariant 5: an effect is done once, however often its job is run', async () => {
  let done = 0
  const results: unknown[] = []
  const { client, events, submit, settled } = await startExecutor(db, {
    handler: async (context) => {
      const { attempt } = context.job
      const act = async () => {
        done += 1
        return { receipt: done }
      }
      results.push(await context.effect('charge', act))
      if (attempt === 1) throw new Error('after the charge')
      return results
    },
  })
  await events.wait('registered')
  const id = await submit(undefined, 2)
  expect((await settled(id)).result).toEqual([{ receipt: 1 }, { receipt: 1 }])
  expect(done).toBe(1)
  expect((await client.listEffects(id)).effects).toMatchObject([
    { key: 'charge', state: 'committed', result: { receipt: 1 } },
  ])
})

test('invariant 5: what an effect throws leaves it in doubt, and the job waits for an operator', async () => {
  let done = 0
  const { client, events, submit, settled } = await startExecutor(db, {
    handler: (context) =>
      context.effect('charge', async () => {
        done += 1
        throw new Error('connection reset')
      }),
  })
  const id = await submit(undefined, 3)
  await events.wait('told_to_stop')
  expect(done).toBe(1)
  expect((await client.getJob(id)).state).toBe('waiting')
  const { effects } = await client.listEffects(id)
  expect(effects).toMatchObject([{ state: 'in_doubt', holds: true }])
  await client.resolveEffect(id, 'charge', { outcome: 'committed', result: 'r', note: 'found' })
  expect(await settled(id)).toMatchObject({ state: 'succeeded', result: 'r' })
  expect(done).toBe(1)
})

test('an effect that says it was not done is begun anew by the next attempt, with the same token', async () => {
  const tokens: string[] = []
  const { submit, settled } = await startExecutor(db, {
    handler: (context) =>
      context.effect('mail', async ({ token }) => {
        tokens.push(token)
        if (tokens.length === 1) throw new EffectNotDone('refused')
        return 'sent'
      }),
  })
  const id = await submit(undefined, 2)
  expect((await settled(id)).result).toBe('sent')
  expect(tokens).toEqual([tokens[0], tokens[0]])
})

test.each([
  [{ outcome: 'committed', result: 'found' } as const, 'found', 1],
  [{ outcome: 'aborted' } as const, 'done 2', 2],
])('a doubt is reconciled: %o', async (found, result, times) => {
  let done = 0
  const handler = (context: JobContext) =>
    context.effect<string>(
      'charge',
      async () => {
        done += 1
        if (done === 1) throw new Error('timeout')
        return `done ${done}`
      },
      { onDoubt: 'reconcile', reconcile: async () => found },
    )
  const { submit, settled } = await startExecutor(db, { handler })
  expect((await settled(await submit(undefined, 2))).result).toBe(result)
  expect(done).toBe(times)
})

test('invariant 5: lost answers of begin and commit are asked for again', async () => {
  const lost = new Set<string>()
  let done = 0
  const { submit, settled } = await startExecutor(
    db,
    {
      handler: (context) =>
        context.effect('pay', async () => {
          done += 1
          return done
        }),
    },
    ({ name }) => {
      if (!['begin', 'commit'].includes(name) || lost.has(name)) return undefined
      lost.add(name)
      return 'lose'
    },
  )
  expect((await settled(await submit())).result).toBe(1)
  expect([...lost]).toEqual(['begin', 'commit'])
  expect(done).toBe(1)
})

test('invariant 5: no report while an effect is still being done, whatever the handler says', async () => {
  const acted = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const { client, submit, settled } = await startExecutor(db, {
    handler: async (context) => {
      const slow = context.effect('slow', async () => {
        begun.resolve()
        await acted.promise
      })
      slow.catch(() => undefined)
      await begun.promise
      throw new Error('the other one failed')
    },
  })
  const id = await submit()
  await begun.promise
  expect((await client.listEffects(id)).effects).toMatchObject([{ state: 'begun' }])
  expect((await client.getJob(id)).state).toBe('leased')
  acted.resolve()
  expect((await settled(id)).state).toBe('failed')
  expect((await client.listEffects(id)).effects).toMatchObject([{ state: 'committed' }])
})

test('a handler that cannot reconcile fails its job rather than losing its lease', async () => {
  let attempts = 0
  const { submit, settled } = await startExecutor(db, {
    handler: (context) => {
      attempts += 1
      const act = async () => {
        throw new Error('timeout')
      }
      const reconcile = async () => ({ outcome: 'aborted' }) as const
      return attempts === 1
        ? context.effect('charge', act, { onDoubt: 'reconcile', reconcile })
        : context.effect('charge', act)
    },
  })
  expect(await settled(await submit(undefined, 5))).toMatchObject({
    state: 'failed',
    attempt: 2,
    lost_leases: 0,
    error: { code: 'effect_in_doubt' },
  })
})

test('what was done is committed without its result where that is refused', async () => {
  let deep: unknown = 1
  for (let n = 0; n < 100; n += 1) deep = [deep]
  const { client, submit, settled } = await startExecutor(db, {
    handler: (context) => context.effect('pay', async () => deep),
  })
  const id = await submit(undefined, 3)
  expect(await settled(id)).toMatchObject({ state: 'failed', error: { code: 'result_refused' } })
  expect((await client.listEffects(id)).effects).toMatchObject([
    { state: 'committed', result: null },
  ])
})

test('a stop before the act leaves nothing in doubt', async () => {
  const asked = Promise.withResolvers<void>()
  const { client, stopping, ended, submit } = await startExecutor(
    db,
    { handler: (context) => context.effect('pay', async () => expect.unreachable()) },
    ({ name }) => {
      if (name !== 'begin' || stopping.signal.aborted) return undefined
      asked.resolve()
      stopping.abort()
      return 'lose'
    },
  )
  const id = await submit()
  await asked.promise
  await ended
  const { effects } = await client.listEffects(id)
  expect(effects.filter(({ state }) => state !== 'aborted')).toEqual([])
  expect((await client.getJob(id)).state).toBe('available')
})

test('invariant 5: a stop before a doubt was reconciled leaves it in doubt', async () => {
  let isLost = true
  const { client, stopping, ended, submit } = await startExecutor(
    db,
    {
      handler: (context) =>
        context.effect('pay', () => Promise.reject(new Error('connection reset')), {
          onDoubt: 'reconcile',
          reconcile: async () => expect.unreachable(),
        }),
    },
    ({ name, body }) => {
      if (name !== 'begin' || body.fence === 1 || !isLost) return undefined
      isLost = false
      stopping.abort()
      return 'lose'
    },
  )
  const id = await submit(undefined, 3)
  await ended
  expect(isLost).toBe(false)
  expect((await client.listEffects(id)).effects).toMatchObject([{ state: 'in_doubt' }])
})

test('a result that cannot be kept fails the job for good, and the effect is not repeated', async () => {
  let done = 0
  const { client, submit, settled } = await startExecutor(db, {
    handler: (context) =>
      context.effect('pay', async () => {
        done += 1
        return 'x'.repeat(300_000)
      }),
  })
  const id = await submit(undefined, 3)
  expect(await settled(id)).toMatchObject({
    state: 'failed',
    error: { code: 'result_too_large', retryable: false },
  })
  expect((await client.listEffects(id)).effects).toMatchObject([
    { state: 'committed', result: null },
  ])
  expect(done).toBe(1)
})
