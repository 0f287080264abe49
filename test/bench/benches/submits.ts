import type { Bench } from '../bench.ts'
import { against, enterBoss, enterGraphile, enterOurs, names, raceSubmits } from '../contest.ts'

export const submits: Bench = {
  name: 'submits',
  title: 'Submit in thousands',
  how: [
    'Each: one process that submits a thousand jobs a call, four calls at once, into a queue that nobody works on.',
    `${names.ours}: POST /v1/jobs/batch at one replica. ${names.boss}: insert(). ${names.graphile}: addJobs().`,
  ],
  goals: [
    { letter: 'b', series: against(names.graphile), atLeast: 1 },
    { letter: 'b', series: against(names.boss), atLeast: 1 },
  ],
  run: async (stage, effort) => {
    const jobs = effort.isShort ? 2_000 : 60_000
    const submit = { jobs, size: 1_000, abreast: 4 }
    const entrants = [
      await enterOurs(stage, { jobs, size: 500, abreast: 4 }),
      await enterGraphile(stage, { jobs, size: 500, abreast: 24 }),
      await enterBoss(stage, { jobs, size: 500, abreast: 4 }, 10),
    ]
    return await raceSubmits(stage, entrants, effort, submit)
  },
}
