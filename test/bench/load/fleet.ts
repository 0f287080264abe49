import { Executors } from './executors.ts'
import type { Callee } from './http.ts'
import { serve } from './serve.ts'

/** Executors that poll and beat for as long as the process lives. */

export type Fleet = {
  /** Returns when all are registered. */
  open(order: Callee & { executors: number }): Promise<null>
  /** What came since the last look, and what is under way. */
  look(order: null): Promise<{ polls: number; beats: number }>
}

let executors: Executors

const acts: Fleet = {
  open: async (order) => {
    executors = new Executors({ ...order, max: 1 })
    await executors.start()
    return null
  },
  look: async () => {
    const { polls, beats, failures } = executors
    if (failures.length > 0) throw new Error(`${failures.length} calls failed: ${failures[0]}`)
    executors.beats = 0
    return { polls, beats }
  },
}
serve(acts)
