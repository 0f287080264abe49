/** Loaded into a replica before its own code: SIGUSR2 keeps its only thread busy for 6 s. */
const blockedMs = 6_000

process.on('SIGUSR2', () => {
  const until = performance.now() + blockedMs
  while (performance.now() < until);
  process.stdout.write(
    `${JSON.stringify({ time: new Date().toISOString(), msg: 'the loop was blocked' })}\n`,
  )
})
