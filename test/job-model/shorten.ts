import type { Step } from './commands.ts'

/** The shortest sequence that can be had of one that fails, by leaving out: runs of steps, from long ones to single
 *  ones, until none can go; then calls of steps that have several. What is left fails, and is as good as minimal. */
export async function shorten(
  steps: Step[],
  fails: (steps: Step[]) => Promise<boolean>,
): Promise<{ steps: Step[]; tries: number }> {
  let best = steps
  let tries = 0
  const tryOut = async (shorter: Step[]) => {
    tries += 1
    const isWorse = await fails(shorter)
    if (isWorse) best = shorter
    return isWorse
  }
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = Math.floor(size / 2)) {
    // From the end: what comes after the failure goes first.
    for (let end = best.length; end > 0; end -= size) {
      await tryOut(best.toSpliced(Math.max(0, end - size), Math.min(size, end)))
    }
  }
  for (let at = best.length - 1; at >= 0; at -= 1) {
    for (let place = (best[at]?.length ?? 0) - 1; place >= 0; place -= 1) {
      const step = best[at] ?? []
      if (step.length > 1) await tryOut(best.with(at, step.toSpliced(place, 1)))
    }
  }
  return { steps: best, tries }
}
