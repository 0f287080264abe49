import type { ServerResponse } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Client } from '../../src/sdk/index.ts'
import { Turns } from '../../src/sdk/turns.ts'
import { HandClock } from '../support/hand-clock.ts'
import { listen } from '../support/listen.ts'
import { pause } from '../support/pause.ts'

/** So long a call waits for a turn at least: its patience, and what it may take by itself. */
const mostMs = 300 + 10_000

const isUnasked = (why: string) =>
  why === 'no replica served any request before this one for 10300 ms'

/** A replica that answers a submit when it is told to, and all else at once. */
async function reluctant(clock = new HandClock()) {
  const held: ServerResponse[] = []
  let most = 0
  let onHeld: () => void = () => undefined
  const url = await listen((request, response) => {
    request.resume()
    if (request.method === 'GET') return response.end('{"job":{}}')
    held.push(response)
    most = Math.max(most, held.length)
    return onHeld()
  })
  const client = new Client({ urls: [url], token: 'token', patienceMs: 300 }, clock)
  onTestFinished(() => client.close())
  const failures: string[] = []
  const submitOne = () =>
    client.submit({ kind: 'k' }).catch(({ message }) => failures.push(message))
  const submit = (many: number) => Array.from({ length: many }, submitOne)
  const holds = async (wanted: number) => {
    while (held.length < wanted) {
      await new Promise<void>((resolve) => {
        onHeld = resolve
      })
    }
  }
  const answer = (many: number) => {
    for (const response of held.splice(0, many)) response.end('{"job":{}}')
  }
  const refuseLast = () => held.pop()?.writeHead(503).end('{"detail":"no","retry_after_ms":100}')
  return { client, clock, submit, failures, held, holds, answer, refuseLast, most: () => most }
}

test('of the submits of a client 64 are under way at once, and other calls do not wait for them', async () => {
  const { client, submit, held, holds, answer, most } = await reluctant()
  const submits: Promise<unknown>[] = submit(100)
  for (let n = 0; n < 100; n += 1) submits.push(client.submitBatch([{ kind: 'k' }]))
  await holds(64)
  await client.getJob('x')
  expect(held).toHaveLength(64)
  for (const _ of submits) {
    await holds(1)
    answer(1)
  }
  await Promise.all(submits)
  expect(most()).toBe(64)
})

test('submits wait as long as those before them are served, and fail without having asked when none is', async () => {
  const { clock, submit, failures, holds, answer, refuseLast } = await reluctant()
  const submits = submit(70)
  await holds(64)
  clock.stall(6_000)
  answer(1)
  await holds(64)
  // Those that have a turn may take as long as they do.
  clock.stall(2 * mostMs)
  answer(1)
  await holds(64)
  clock.stall(mostMs - 1)
  refuseLast()
  await holds(64)
  expect(failures.filter(isUnasked)).toEqual([])
  clock.stall(1)
  refuseLast()
  await holds(64)
  while (failures.length < 3) await pause()
  expect(failures.filter(isUnasked)).toHaveLength(2)
  await clock.untilAsleepUntil(6_000 + 3 * mostMs + 100)
  answer(64)
  await clock.advance(100)
  await holds(1)
  answer(1)
  await Promise.all(submits)
  // Nor did they take turns from anybody.
  const again = submit(64)
  await holds(64)
  answer(64)
  await Promise.all(again)
})

test('whoever pauses leaves its turn to others, and waiting for one takes nothing from its patience', async () => {
  const { clock, submit, failures, holds, answer, refuseLast } = await reluctant()
  const submits = submit(66)
  await holds(64)
  refuseLast()
  await clock.untilAsleepUntil(100)
  await holds(64)
  await clock.advance(5_000)
  answer(1)
  await holds(64)
  // This one waited for those 5 s.
  refuseLast()
  await clock.untilAsleepUntil(5_100)
  await holds(64)
  answer(64)
  await clock.advance(100)
  await holds(1)
  answer(1)
  await Promise.all(submits)
  expect(failures).toEqual([])
})

test('whoever was refused, and then has no turn any more, tells of the refusal', async () => {
  const { clock, submit, failures, holds, answer, refuseLast } = await reluctant()
  const submits = submit(66)
  await holds(64)
  for (let refused = 0; refused < 2; refused += 1) {
    refuseLast()
    await clock.untilAsleepUntil(100)
    await holds(64)
  }
  await clock.advance(100)
  clock.stall(mostMs)
  // Of those two one has its turn, and the other none.
  refuseLast()
  await holds(64)
  while (failures.length < 2) await pause()
  // Nobody was served while the one waited: that was its patience.
  refuseLast()
  while (failures.length < 3) await pause()
  for (const why of failures) expect(why).toMatch(/^no replica served the request; .*: no$/)
  answer(64)
  await Promise.all(submits)
  expect(failures).toHaveLength(3)
})

test('without patience, too, submits wait for a replica that serves', async () => {
  const url = await listen((request, response) => {
    request.resume()
    setTimeout(() => response.end('{"job":{}}'), 20)
  })
  const client = new Client({ urls: [url], token: 'token', patienceMs: 0 })
  onTestFinished(() => client.close())
  await Promise.all(Array.from({ length: 200 }, () => client.submit({ kind: 'k' })))
})

test('a turn is for a round: whom one replica refuses asks the next before anybody who waits', async () => {
  const standby: ServerResponse[] = []
  const all = Promise.withResolvers<void>()
  const refusing = await listen((request, response) => {
    request.resume()
    if (standby.push(response) === 64) all.resolve()
  })
  const moved = Promise.withResolvers<unknown>()
  const serving = await listen((request, response) => {
    request.resume()
    moved.resolve(request.headers['idempotency-key'])
    response.end('{"job":{}}')
  })
  const client = new Client({ urls: [refusing, serving], token: 'token' })
  onTestFinished(() => client.close())
  const submits = Array.from({ length: 65 }, (_, n) =>
    client.submit({ kind: 'k', idempotency_key: `${n}` }),
  )
  await all.promise
  const first = standby.find(({ req }) => req.headers['idempotency-key'] === '0')
  first?.writeHead(503).end('{"code":"controller_standby"}')
  expect(await moved.promise).toBe('0')
  for (const response of standby) if (response !== first) response.end('{"job":{}}')
  await Promise.all(submits)
})

test('a client that is closed lets nobody wait for a turn', async () => {
  const { client, submit, failures, holds, most } = await reluctant()
  const submits = submit(100)
  await holds(64)
  await client.close()
  await Promise.all(submits)
  expect(failures).toEqual(Array(100).fill('the connection is closed'))
  expect(most()).toBe(64)
})

test('turns are given in the order of asking', async () => {
  const turns = new Turns(1, systemClock)
  const order: number[] = []
  expect(await turns.take(0)).toBe(true)
  const given = [1, 2, 3].map(async (n) => {
    expect(await turns.take(60_000)).toBe(true)
    order.push(n)
    turns.end(true)
  })
  turns.end(true)
  await Promise.all(given)
  expect(order).toEqual([1, 2, 3])
  expect(await turns.take(0)).toBe(true)
})
