import type { Bench } from '../bench.ts'
import { against, enterBoss, enterGraphile, enterOurs, names, raceWork } from '../contest.ts'

const executors = 64

export const oneByOne: Bench = {
  name: 'one-by-one',
  title: 'One job per call',
  how: [
    `${names.ours}: one replica, and ${executors} executors in one process, each of which polls for one job and reports it, over HTTP: two requests a job, each answered after its commit.`,
    `${names.boss}: one process with the ten sessions that it comes with, and ten loops, each of which fetches one job and completes it.`,
    `${names.graphile}: one process; its default is one job at a time.`,
  ],
  goals: [
    { letter: 'a', series: against(names.boss), atLeast: 2 },
    { letter: 'a', series: against(names.graphile), atLeast: 1.5 },
  ],
  run: async (stage, effort) => {
    const jobs = effort.isShort ? 200 : 10_000
    const entrants = [
      await enterOurs(stage, { jobs, size: 1, abreast: executors }),
      await enterBoss(stage, { jobs, size: 1, abreast: 10 }, 10),
      await enterGraphile(stage, { jobs, size: 1, abreast: 1 }),
    ]
    return await raceWork(stage, entrants, effort)
  },
}
