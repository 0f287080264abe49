import { expect, test } from 'vitest'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { pause } from '../support/pause.ts'
import { RawConnection } from '../support/raw.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { stillClock } from '../support/still-clock.ts'

const db = useDatabase()
const auth = `Authorization: Bearer ${adminToken}`
const probe = 'GET /health/active HTTP/1.1\r\nHost: x\r\n\r\n'
const listing = `GET /v1/jobs HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`
const env = { UNDERSTUDY_MAX_CONNECTIONS: '10' }

/** Takes every connection that this replica gives; the next is a spare one. */
async function fill(api: Api): Promise<RawConnection[]> {
  const held: RawConnection[] = []
  for (;;) {
    const raw = new RawConnection(api.url).write(probe)
    await raw.until(/\r\n\r\n{.*}/)
    if (/^connection: close/im.test(raw.received)) {
      await raw.closed
      return held
    }
    raw.received = ''
    held.push(raw)
  }
}

test('when all connections are taken, probes are answered and all else is refused', async () => {
  const { api } = await startActive(db, env)
  const [held] = await fill(api)
  const probed = new RawConnection(api.url).write(probe)
  const refused = new RawConnection(api.url).write(listing + listing)
  await Promise.all([probed.closed, refused.closed])
  expect(probed.statuses).toEqual([200])
  expect(refused.statuses).toEqual([503])
  expect(refused.problem()).toMatchObject({ code: 'overloaded', retryable: true })
  held?.write(listing)
  await held?.until(/200 OK/)
  held?.socket.destroy()
  await held?.closed
  for (;;) {
    const raw = new RawConnection(api.url).write(listing)
    await raw.until(/\r\n\r\n{.*}/)
    if (raw.statuses.join() === '200') return
  }
})

test('invariant 7: beyond the spare connections a new one is closed unheard, which is noted as a stall', async () => {
  const edge = { spareConnections: 2, spareMs: 600_000 }
  const logged = new LogLines('warn')
  const { api, app } = await startActive(
    db,
    { ...env, UNDERSTUDY_SWEEP_INTERVAL_MS: '600000' },
    { edge, clock: stillClock },
    logged,
  )
  await fill(api)
  const spare = [new RawConnection(api.url), new RawConnection(api.url)]
  const { stalls } = app.wiring
  stalls.settle(stalls.unsettled)
  expect(stalls.unsettled).toBe(0)
  const beyond = new RawConnection(api.url).write(probe)
  await beyond.closed
  expect(beyond.received).toBe('')
  expect(stalls.unsettled).toBeGreaterThan(0)
  await new RawConnection(api.url).closed
  // Once each, however many there were.
  expect(logged.lines.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/^all connections are taken/),
    expect.stringMatching(/^connections are closed unheard/),
  ])
  spare[0]?.write(probe)
  await spare[0]?.closed
  expect(spare[0]?.statuses).toEqual([200])
})

test('a spare connection is not held by who says nothing', async () => {
  const { api } = await startActive(db, env, {
    edge: { spareMs: 50, headersMs: 100_000, silentMs: 600_000 },
  })
  await fill(api)
  const silent = new RawConnection(api.url)
  await silent.closed
  expect(silent.received).toBe('')
})

test('one connection cannot park more requests than it may', async () => {
  const { api, app } = await startActive(db, {}, { edge: { maxUnanswered: 3 } })
  const { id } = await api.submit({ delay_ms: 60_000 })
  const wait = `GET /v1/jobs/${id}?wait_ms=20000 HTTP/1.1\r\nHost: x\r\n${auth}\r\n\r\n`
  const raw = new RawConnection(api.url).write(wait.repeat(3))
  while (app.wiring.waitList.size < 3) await pause()
  raw.write(wait)
  await raw.closed
  while (app.wiring.waitList.size > 0) await pause()
  const next = new RawConnection(api.url)
  for (let asked = 0; asked < 5; asked += 1) {
    next.received = ''
    next.write(probe)
    await next.until(/\r\n\r\n{.*}/)
  }
  expect(next.statuses).toEqual([200])
})

test('who asks for too much at once on one connection, without a token, holds up no lease', async () => {
  const { api, app } = await startActive(
    db,
    { UNDERSTUDY_SWEEP_INTERVAL_MS: '600000' },
    { clock: stillClock },
  )
  const { stalls } = app.wiring
  stalls.settle(stalls.unsettled)
  const beat = 'POST /v1/executors/x/heartbeat HTTP/1.1\r\nHost: x\r\n\r\n'
  const raw = new RawConnection(api.url).write(beat.repeat(66))
  await raw.closed
  expect(raw.statuses).not.toContain(200)
  expect(stalls.unsettled).toBe(0)
})
