import type { ServerResponse } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Client, UnavailableError } from '../../src/sdk/index.ts'
import { Turns } from '../../src/sdk/turns.ts'
import { listen } from '../support/listen.ts'

/** A replica that answers a submit when it is told to, and all else at once. */
async function reluctant(patienceMs = 60_000) {
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
  const client = new Client({ urls: [url], token: 'token', patienceMs })
  onTestFinished(() => client.close())
  const holds = async (wanted: number) => {
    while (held.length < wanted) {
      await new Promise<void>((resolve) => {
        onHeld = resolve
      })
    }
  }
  const answerOne = () => held.shift()?.end('{"job":{}}')
  return { client, held, holds, answerOne, most: () => most }
}

test('of the submits of a client 64 are under way at once, and other calls do not wait for them', async () => {
  const { client, held, holds, answerOne, most } = await reluctant()
  const submits = Array.from({ length: 200 }, () => client.submit({ kind: 'k' }))
  await holds(64)
  await client.getJob('x')
  expect(held).toHaveLength(64)
  for (const _ of submits) {
    await holds(1)
    answerOne()
  }
  await Promise.all(submits)
  expect(most()).toBe(64)
})

test('whoever had no turn in time fails without having asked, and takes no turn from anybody', async () => {
  const { client, held, holds, answerOne } = await reluctant(300)
  const submits = Array.from({ length: 64 }, () => client.submit({ kind: 'k' }))
  await holds(64)
  const late = client.submit({ kind: 'k' })
  await expect(late).rejects.toThrow(UnavailableError)
  await expect(late).rejects.toThrow('64 requests before this one were not served in time')
  expect(held).toHaveLength(64)
  while (held.length > 0) answerOne()
  await Promise.all(submits)
  const again = Array.from({ length: 64 }, () => client.submit({ kind: 'k' }))
  await holds(64)
  while (held.length > 0) answerOne()
  await Promise.all(again)
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
  const { client, holds } = await reluctant()
  const submits = Array.from({ length: 100 }, () => client.submit({ kind: 'k' }))
  const all = Promise.allSettled(submits)
  await holds(64)
  await client.close()
  for (const ended of await all) {
    expect(ended).toMatchObject({
      status: 'rejected',
      reason: { message: 'the connection is closed' },
    })
  }
})

test('turns are given in the order of asking; one that was given at the last moment counts', async () => {
  const turns = new Turns(1, systemClock)
  const order: number[] = []
  expect(await turns.take(0)).toBe(true)
  const given = [1, 2, 3].map(async (n) => {
    expect(await turns.take(60_000)).toBe(true)
    order.push(n)
    turns.end()
  })
  const gone = new AbortController()
  const overtaken = turns.take(60_000, gone.signal)
  gone.abort()
  turns.end()
  await Promise.all(given)
  expect(order).toEqual([1, 2, 3])
  expect(await overtaken).toBe(false)
  expect(await turns.take(0)).toBe(true)
  const late = new AbortController()
  const both = turns.take(60_000, late.signal)
  turns.end()
  late.abort()
  expect(await both).toBe(true)
  turns.end()
  expect(await turns.take(0)).toBe(true)
})
