/** Processes that must not outlive this one, whatever ends it: each has a group of its own, which Ctrl-C does not
 *  reach. */
const pids = new Set<number>()

process.once('exit', () => {
  for (const pid of pids) end(pid)
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(1))
}

/** From now on it goes with us; until it is gone, which is for the caller to say. */
export function endWithUs(pid: number): () => void {
  pids.add(pid)
  return () => pids.delete(pid)
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It went first.
  }
}
