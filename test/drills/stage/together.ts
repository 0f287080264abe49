/** All of them to their end. The first that fails is thrown, but only when the others, told by the signal, have ended
 *  too: none of them goes on doing things to a stage that is torn down. */
export async function together<T>(loops: ((ending: AbortSignal) => Promise<T>)[]): Promise<T[]> {
  const ending = new AbortController()
  const settled = await Promise.allSettled(
    loops.map(async (loop) => {
      try {
        return await loop(ending.signal)
      } catch (error) {
        ending.abort(error)
        throw error
      }
    }),
  )
  ending.signal.throwIfAborted()
  return settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
}
