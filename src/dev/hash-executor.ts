import { text } from 'node:stream/consumers'
import { Executor, type JobContext } from '../sdk/index.ts'
import { hashOf } from './demo-files.ts'

/** One executor of the demo, a process of its own: computes the SHA-256 of the file that a job names.
 *  Told on stdin how to reach the replicas; prints a JSON line for each thing that happens. */

async function hashFile({ job, signal }: JobContext): Promise<{ sha256: string }> {
  const { file } = job.payload as { file: string }
  return { sha256: await hashOf(file, signal) }
}

const options = JSON.parse(await text(process.stdin))
const draining = new AbortController()
process.on('SIGTERM', () => draining.abort())

const executor = new Executor({
  ...options,
  handler: hashFile,
  onEvent: (event) => {
    const at = Date.now()
    if (event.type === 'served') say({ at, type: 'served', call: event.call })
    if (event.type === 'reported') {
      say({ at, type: 'reported', jobId: event.item.job_id, status: event.result.status })
    }
    if (event.type === 'trouble')
      say({ at, type: 'trouble', call: event.call, error: `${event.error}` })
  },
})

function say(event: unknown): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

await executor.run(draining.signal)
