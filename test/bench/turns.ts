import { type Effort, Sheet } from './bench.ts'

/** Rounds that do not count: the engine goes on compiling what runs hot for tens of thousands of calls. */
const warmUps = 3

/** Each in turn, and its turn alone, round by round. */
export async function takeTurns<Side extends { name: string }>(
  sides: Side[],
  { rounds, isShort, step }: Effort,
  run: (side: Side, sheet: Sheet) => Promise<void>,
): Promise<Sheet> {
  const sheet = new Sheet()
  for (let round = isShort ? 1 : 1 - warmUps; round <= rounds; round += 1) {
    for (const side of sides) {
      step(round < 1 ? `${side.name} warms up` : `round ${round} of ${rounds}, ${side.name}`)
      await run(side, round < 1 ? new Sheet() : sheet)
    }
  }
  return sheet
}
