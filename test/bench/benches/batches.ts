import type { Bench } from '../bench.ts'
import { against, enterBoss, enterGraphile, enterOurs, names, raceWork } from '../contest.ts'

export const batches: Bench = {
  name: 'batches',
  title: 'In batches',
  how: [
    `${names.ours}: one replica, and eight executors in one process, each of which polls for up to 500 jobs and reports them in one call, over HTTP.`,
    `${names.graphile}: one process with a local queue of 500, 24 jobs side by side, completed in batches.`,
    `${names.boss}: one process, four loops, each of which fetches a hundred jobs and completes them in one call.`,
  ],
  goals: [{ letter: 'b', series: against(names.graphile), atLeast: 1 }],
  run: async (stage, effort) => {
    const jobs = effort.isShort ? 2_000 : 60_000
    const entrants = [
      await enterOurs(stage, { jobs, size: 500, abreast: 8 }),
      await enterGraphile(stage, { jobs, size: 500, abreast: 24 }),
      await enterBoss(stage, { jobs, size: 100, abreast: 4 }, 10),
    ]
    return await raceWork(stage, entrants, effort)
  },
}
