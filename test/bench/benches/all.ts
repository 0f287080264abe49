import type { Bench } from '../bench.ts'
import { batches } from './batches.ts'
import { growth } from './growth.ts'
import { headOfQueue } from './head-of-queue.ts'
import { fleet, heartbeats } from './heartbeats.ts'
import { idle } from './idle.ts'
import { idlePolls } from './idle-polls.ts'
import { latency } from './latency.ts'
import { oneByOne } from './one-by-one.ts'
import { queues } from './queues.ts'
import { recovery } from './recovery.ts'
import { soak } from './soak.ts'
import { submits } from './submits.ts'

export const benches: Bench[] = [
  oneByOne,
  batches,
  submits,
  latency,
  heartbeats,
  fleet,
  growth,
  queues,
  headOfQueue,
  idlePolls,
  recovery,
  soak,
  idle,
]
