/** The inside of a load process: what it can be asked for, by name. One question at a time; what it is asked and what
 *  it answers crosses as JSON. */
export type Acts = Record<string, (order: never) => Promise<unknown>>

export interface Asked {
  act: string
  order: unknown
}

export type Told = { answer: unknown } | { error: string }

export function serve(acts: Acts): void {
  process.on('message', ({ act, order }: Asked) => {
    const tell = (told: Told) => process.send?.(told)
    const run = acts[act] as ((order: unknown) => Promise<unknown>) | undefined
    if (!run) return tell({ error: `there is no ${act}` })
    return run(order).then(
      (answer) => tell({ answer: answer ?? null }),
      (error: Error) => tell({ error: error.stack ?? String(error) }),
    )
  })
  // Whoever asks is gone.
  process.once('disconnect', () => process.exit(0))
}
