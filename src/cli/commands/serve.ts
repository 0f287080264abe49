import { Command } from 'commander'

export function serveCommand(): Command {
  return new Command('serve')
    .description('run one replica until SIGTERM or SIGINT; logs are JSON lines on stdout')
    .addHelpText('after', '\nIt is configured by the environment: see docs/configuration.md.')
    .action(async () => {
      // Before the rest is loaded: as PID 1 of a container a process has no handlers but its own.
      const stopping = listenForStop()
      const { runReplica } = await import('../../main.ts')
      await runReplica(stopping)
    })
}

/** Longest that a stop may take before the process ends anyway. */
const stopMs = 10_000

/** Aborts at the first SIGTERM or SIGINT; the second ends the process at once. */
function listenForStop(): AbortSignal {
  const stopping = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping.signal.aborted) process.exit(1)
      setTimeout(() => process.exit(1), stopMs).unref()
      stopping.abort(signal)
    })
  }
  return stopping.signal
}
