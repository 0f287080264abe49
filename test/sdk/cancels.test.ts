import { expect, test } from 'vitest'
import type { JobContext } from '../../src/sdk/index.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startExecutor } from './start-executor.ts'

const db = useDatabase()

const stopped = ({ signal }: JobContext) =>
  new Promise<never>((_, reject) => {
    const onAbort = () => reject(new Error('stopped'))
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
  })

test('invariant 6: a cancel reaches the handler, with its reason, and is reported', async () => {
  let reason: unknown
  const { client, events, submit, settled } = await startExecutor(db, {
    handler: async (context) => {
      await stopped(context).catch(() => undefined)
      reason = [context.signal.reason, context.cancelReason]
      throw new Error('gave up')
    },
  })
  const id = await submit(undefined, 5)
  await events.wait('started')
  await client.cancelJob(id, { reason: 'wrong branch' })
  expect(await settled(id)).toMatchObject({ state: 'cancelled', cancel_reason: 'wrong branch' })
  expect(reason).toEqual(['cancelled', 'wrong branch'])
})

test('invariant 6: a cancel waits for the end of a critical section, and comes the moment it ends', async () => {
  const story: string[] = []
  const inside = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const { client, events, submit, settled } = await startExecutor(db, {
    handler: async (context) => {
      await context.critical(async () => {
        inside.resolve()
        await goOn.promise
        story.push(`deployed, aborted ${context.signal.aborted}`)
      })
      story.push(`left, aborted ${context.signal.aborted}`)
      await stopped(context)
    },
  })
  const id = await submit()
  await inside.promise
  const { critical_until } = await client.cancelJob(id)
  expect(critical_until).not.toBe(null)
  const beats = events.fired.filter(({ type }) => type === 'served').length
  while (events.fired.filter(({ type }) => type === 'served').length < beats + 3) {
    await pause()
  }
  expect(story).toEqual([])
  goOn.resolve()
  expect((await settled(id)).state).toBe('cancelled')
  expect(story).toEqual(['deployed, aborted false', 'left, aborted true'])
})

for (const what of ['critical', 'effect'] as const) {
  test(`what is refused for a cancel ends the job: ${what}`, async () => {
    const ready = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    let done = false
    const act = async () => {
      done = true
    }
    const { client, submit, settled } = await startExecutor(
      db,
      {
        handler: async (context) => {
          ready.resolve()
          await goOn.promise
          await (what === 'critical' ? context.critical(act) : context.effect('pay', act))
        },
      },
      // No heartbeat tells it.
      ({ name }) => (name === 'heartbeat' ? { status: 503, body: '{}' } : undefined),
    )
    const id = await submit()
    await ready.promise
    await client.cancelJob(id)
    goOn.resolve()
    expect((await settled(id)).state).toBe('cancelled')
    expect(done).toBe(false)
  })
}

test('a refusal tells no reason, and the heartbeat that follows does', async () => {
  const ready = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const reasons: (string | undefined)[] = []
  let isHeard = false
  const { client, submit, settled } = await startExecutor(
    db,
    {
      handler: async (context) => {
        ready.resolve()
        await goOn.promise
        await context.effect('pay', async () => undefined).catch(() => undefined)
        reasons.push(context.cancelReason)
        isHeard = true
        while (context.cancelReason === '') await pause()
        reasons.push(context.cancelReason)
        throw new Error('gave up')
      },
    },
    ({ name }) => (name === 'heartbeat' && !isHeard ? { status: 503, body: '{}' } : undefined),
  )
  const id = await submit()
  await ready.promise
  await client.cancelJob(id, { reason: 'wrong branch' })
  goOn.resolve()
  expect((await settled(id)).state).toBe('cancelled')
  expect(reasons).toEqual(['', 'wrong branch'])
})

test('sections that overlap are one, and no report comes before their end', async () => {
  const story: string[] = []
  const goOn = Promise.withResolvers<void>()
  const { client, submit, settled } = await startExecutor(
    db,
    {
      handler: async (context) => {
        const section = (name: string) =>
          context.critical(async () => {
            story.push(`${name} in`)
            if (name === 'second') await goOn.promise
            story.push(`${name} out`)
          })
        void section('first')
        void section('second').catch(() => undefined)
        throw new Error('the handler has failed')
      },
    },
    ({ name, body }) => {
      if (name === 'critical') story.push(body.enter ? 'entered' : 'left')
      if (name === 'report') story.push('reported')
      return undefined
    },
  )
  const id = await submit()
  while (!story.includes('second in')) await pause()
  const { critical_until } = await client.cancelJob(id)
  expect(critical_until).not.toBe(null)
  goOn.resolve()
  expect((await settled(id)).state).toBe('cancelled')
  // A report that is not answered in time is told once more; nothing else comes after it.
  expect(new Set(story.slice(story.indexOf('reported')))).toEqual(new Set(['reported']))
  expect(story.indexOf('left', story.indexOf('second in'))).toBeGreaterThan(
    story.indexOf('second out'),
  )
})
