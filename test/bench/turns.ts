import { type Effort, Sheet } from './bench.ts'

/** Each in turn, and its turn alone, round by round. */
export async function takeTurns<Side extends { name: string }>(
  sides: Side[],
  { rounds, step }: Effort,
  run: (side: Side, sheet: Sheet) => Promise<void>,
): Promise<Sheet> {
  const sheet = new Sheet()
  // One round for nothing: who runs its code for the first time is slow.
  for (const [nth, all] of [
    new Sheet(),
    ...Array.from({ length: rounds }, () => sheet),
  ].entries()) {
    for (const side of sides) {
      step(nth === 0 ? `${side.name} warms up` : `round ${nth} of ${rounds}, ${side.name}`)
      await run(side, all)
    }
  }
  return sheet
}
