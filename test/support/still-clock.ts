import { type Clock, systemClock } from '../../src/clock.ts'

/** Stands still, though it sleeps: a stall of the machine is none, and so raises no deadlines. */
export const stillClock: Clock = { ...systemClock, monotonic: () => 0 }
