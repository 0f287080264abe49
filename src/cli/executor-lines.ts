import type { Executor } from '../contract/executors.ts'
import { ago, table } from './print.ts'

/** Executors for people. */
export function executorTable(executors: Executor[]): string[] {
  return table(
    ['executor', 'epoch', 'state', 'health', 'leases', 'capacity', 'queues', 'heartbeat'],
    executors.map((executor) => [
      executor.executor_id,
      executor.epoch,
      executor.draining ? `${executor.state}, draining` : executor.state,
      troubleOf(executor),
      executor.leases,
      executor.capacity,
      executor.queues.join(','),
      ago(executor.heartbeat_at),
    ]),
  )
}

/** With what counts for and against it. */
function troubleOf({ health, failures, successes }: Executor): string {
  if (health === 'healthy') return failures === 0 ? health : `${health}, ${failures} failed`
  return `${health}, ${failures} failed, ${successes} done`
}
