import { onTestFinished } from 'vitest'
import type { App } from '../../src/app.ts'

/** Keeps claims and registrations waiting until it is let go. */
export function holdLane(app: App): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  void app.wiring.lane.run(() => promise)
  onTestFinished(() => resolve())
  return resolve
}
