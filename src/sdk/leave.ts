import type { Transport } from './transport.ts'

/** How long a process that goes may take to say so. */
const leaveMs = 1_000

/** Deregisters a process that holds nothing any more. Where that does not get through, its silence says the same a
 *  little later. */
export async function leave(transport: Transport, path: string, epoch: number): Promise<void> {
  await transport
    .call({
      method: 'POST',
      path,
      body: { epoch },
      timeoutMs: leaveMs,
      patienceMs: leaveMs,
      isRepeatable: true,
      signal: AbortSignal.timeout(leaveMs),
    })
    .catch(() => undefined)
}
