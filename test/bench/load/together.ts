/** Runs `count` of these side by side, until all have ended. */
export async function sideBySide(count: number, run: (nth: number) => Promise<void>) {
  await Promise.all(Array.from({ length: count }, (_, nth) => run(nth)))
}

/** Seconds that something takes. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  await run()
  return (performance.now() - since) / 1_000
}

/** Hands out `total` things in portions of at most `size`, until there are none. */
export function portions(total: number, size: number): () => number {
  let left = total
  return () => {
    const portion = Math.min(left, size)
    left -= portion
    return portion
  }
}

/** What each job carries, with everybody. */
export const payload = (nth: number) => ({
  nth,
  note: 'a payload of some fifty bytes or so, as jobs have',
})
