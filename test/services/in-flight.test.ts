import { expect, test } from 'vitest'
import { InFlight } from '../../src/services/in-flight.ts'

test('idle waits for the last one that is in flight, and for nothing if there is none', async () => {
  const inFlight = new InFlight()
  await inFlight.idle()
  const ends = [inFlight.begin(), inFlight.begin()]
  let isIdle = false
  const idle = inFlight.idle().then(() => {
    isIdle = true
  })
  ends[0]?.()
  await Promise.resolve()
  expect(isIdle).toBe(false)
  ends[1]?.()
  await idle
  await inFlight.idle()
  // The next one is waited for again.
  const end = inFlight.begin()
  const again = inFlight.idle()
  end()
  await again
})
