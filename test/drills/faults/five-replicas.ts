import type { Drill } from '../drill.ts'

export const fiveReplicas: Drill = {
  name: 'five-replicas',
  title: 'five replicas start at the same moment',
  promotes: true,
  stage: { replicas: ['a', 'b', 'c', 'd', 'e'] },
  async run(stage) {
    await stage.fault(
      'kill -9',
      'all replicas',
      async () => {
        for (const replica of stage.replicas) replica.kill('SIGKILL')
        await Promise.all(stage.replicas.map((replica) => replica.exited()))
      },
      async () => {
        for (const replica of stage.replicas) replica.start()
      },
    )
    await stage.untilWhole()
  },
}
