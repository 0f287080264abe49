/** Ctrl-C, a kill, a terminal that is closed, a pipe that nobody reads any more: all mean to stop, and
 *  none may cut the cleaning up short. */
export function onLeave(leave: () => void): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, leave)
  for (const stream of [process.stdout, process.stderr]) stream.on('error', leave)
}
