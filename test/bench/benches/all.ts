import type { Bench } from '../bench.ts'
import { batches } from './batches.ts'
import { growth } from './growth.ts'
import { fleet, heartbeats } from './heartbeats.ts'
import { latency } from './latency.ts'
import { oneByOne } from './one-by-one.ts'
import { submits } from './submits.ts'

export const benches: Bench[] = [oneByOne, batches, submits, latency, heartbeats, fleet, growth]
