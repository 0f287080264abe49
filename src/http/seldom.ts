const seldomMs = 60_000

/** Says it at once, and then at most once a minute, however often it is to be said. */
export function seldom(say: () => void): () => void {
  let saidAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - saidAt < seldomMs) return
    saidAt = now
    say()
  }
}
