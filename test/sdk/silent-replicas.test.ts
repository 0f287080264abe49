import { expect, onTestFinished, test, vi } from 'vitest'
import { ReplicaList } from '../../src/sdk/replica-list.ts'
import { Transport } from '../../src/sdk/transport.ts'
import { listen } from '../support/listen.ts'
import { call, serve } from './call.ts'

const nobody = 'http://127.0.0.1:9'

/** No try is over by the time it takes: only the latest one, when that is called. */
function steerTimeouts(): () => void {
  let latest = new AbortController()
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation(() => {
    latest = new AbortController()
    return latest.signal
  })
  onTestFinished(() => timeout.mockRestore())
  return () => latest.abort()
}

test('a replica that does not answer in time is left, and so is what is parked at it', async () => {
  const silent = await listen(() => undefined)
  const good = await serve({ ok: 6 })
  const replicas = new ReplicaList([silent, good])
  const polls = new Transport(replicas, 'token')
  const beats = new Transport(replicas, 'token')
  onTestFinished(async () => {
    await Promise.all([polls.close(), beats.close()])
  })
  const base = { method: 'POST', path: '/x', patienceMs: 60_000, isRepeatable: true } as const
  const parked = polls.call({ ...base, timeoutMs: 60_000, isParked: true })
  expect(await beats.call({ ...base, timeoutMs: 100 })).toEqual({ ok: 6 })
  expect(await parked).toEqual({ ok: 6 })
})

test('one that was silent is not asked again for two seconds while another answers, whoever it is said to be', async () => {
  const asked: string[] = []
  const endTry = steerTimeouts()
  const silent = await listen(() => {
    asked.push('silent')
    endTry()
  })
  const standby = await listen((_request, response) => {
    asked.push('standby')
    const problem = { code: 'controller_standby', active_url: silent, retry_after_ms: 150 }
    response.writeHead(503).end(JSON.stringify(problem))
  })
  const { answer } = call([silent, standby], { patienceMs: 2_300 })
  await expect(answer).rejects.toMatchObject({ code: 'unavailable' })
  expect(asked).toEqual(['silent', ...Array(15).fill('standby'), 'silent', 'standby'])
})

test('one that was silent is asked again at once where nobody else so much as refuses', async () => {
  let asked = 0
  const late = await listen((_request, response) => {
    asked += 1
    if (asked >= 2) response.end('{"ok":11}')
  })
  expect(await call([late, nobody], { timeoutMs: 100 }).answer).toEqual({ ok: 11 })
})

test('a single URL that does not answer in time: what is parked there is sent again', async () => {
  const isParked = Promise.withResolvers<void>()
  const parkedAgain = Promise.withResolvers<void>()
  let parks = 0
  const balancer = await listen((request, response) => {
    if (request.url === '/beat') return
    parks += 1
    if (parks === 1) return isParked.resolve()
    response.end('{"ok":10}')
    parkedAgain.resolve()
  })
  const replicas = new ReplicaList([balancer])
  const polls = new Transport(replicas, 'token')
  const beats = new Transport(replicas, 'token')
  onTestFinished(async () => {
    await Promise.all([polls.close(), beats.close()])
  })
  const base = { method: 'POST', isRepeatable: true } as const
  const parked = polls.call({
    ...base,
    path: '/poll',
    timeoutMs: 60_000,
    patienceMs: 60_000,
    isParked: true,
  })
  await isParked.promise
  const beat = beats.call({ ...base, path: '/beat', timeoutMs: 200, patienceMs: 0 })
  await expect(beat).rejects.toMatchObject({ code: 'unavailable' })
  await parkedAgain.promise
  expect(await parked).toEqual({ ok: 10 })
})
