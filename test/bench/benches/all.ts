import type { Bench } from '../bench.ts'
import { batches } from './batches.ts'
import { oneByOne } from './one-by-one.ts'
import { submits } from './submits.ts'

export const benches: Bench[] = [oneByOne, batches, submits]
