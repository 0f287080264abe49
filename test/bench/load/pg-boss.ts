import { PgBoss } from 'pg-boss'
import type { Contender } from './contender.ts'
import { serve } from './serve.ts'
import { payload, portions, sideBySide, timed } from './together.ts'

/** pg-boss as its users run it: one process with a pool of sessions. */

export interface Boss extends Contender {
  open(order: { url: string; sessions: number }): Promise<null>
}

const queue = 'bench'
let boss: PgBoss

const acts: Boss = {
  open: async ({ url, sessions }) => {
    boss = new PgBoss({ connectionString: url, max: sessions })
    boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
    await boss.start()
    await boss.createQueue(queue)
    return null
  },
  submit: ({ jobs, size, abreast }) => {
    const next = portions(jobs, size)
    return timed(() =>
      sideBySide(abreast, async () => {
        for (let portion = next(); portion > 0; portion = next()) {
          const wanted = Array.from({ length: portion }, (_, nth) => ({ data: payload(nth) }))
          await boss.insert(queue, wanted)
        }
      }),
    )
  },
  work: async ({ jobs, size, abreast }) => {
    let done = 0
    const seconds = await timed(() =>
      sideBySide(abreast, async () => {
        for (;;) {
          const fetched = await boss.fetch(queue, { batchSize: size })
          if (fetched.length === 0) return
          await boss.complete(
            queue,
            fetched.map(({ id }) => id),
          )
          done += fetched.length
        }
      }),
    )
    if (done !== jobs) throw new Error(`${done} of ${jobs} jobs were done`)
    return seconds
  },
}
serve(acts)
