import { type Bench, type Effort, Sheet } from '../bench.ts'
import { percentile } from '../figures.ts'
import type { Latency, Moments } from '../load/understudy-latency.ts'
import type { Replica, Stage } from '../stage.ts'

const [onActive, onStandby] = ['submitted to the active', 'submitted to the standby'] as const

export const latency: Bench = {
  name: 'latency',
  title: 'From submit to executor',
  how: [
    'Two replicas; eight executors wait at the active one; one client submits 50 jobs/s, one a call, in a queue that is empty otherwise.',
    'Receipt: from the answer to the submit until an executor has the job; 0 where it had it first. Whole: from the sending of the submit.',
  ],
  goals: [onActive, onStandby].flatMap((where) => [
    { letter: 'c', series: `${where}: receipt, p50`, atMost: 5 },
    { letter: 'c', series: `${where}: receipt, p99`, atMost: 25 },
  ]),
  run: async (stage, effort) => {
    const [active, standby] = await stage.startCluster('ours', 2)
    if (!standby) throw new Error('there is no standby')
    const sheet = new Sheet()
    for (const [where, client] of [
      [onActive, active],
      [onStandby, standby],
    ] as const) {
      await measure(stage, effort, sheet, where, client, active)
    }
    return sheet.all
  },
}

async function measure(
  stage: Stage,
  { rounds, isShort, step }: Effort,
  sheet: Sheet,
  where: string,
  client: Replica,
  active: Replica,
) {
  const load = stage.startLoad<Latency>('understudy-latency')
  const callee = ({ url, token }: Replica) => ({ url, token })
  await load.ask('open', { client: callee(client), active: callee(active), executors: 8 })
  await load.ask('measure', { jobs: 50, everyMs: 20 })
  for (let round = 1; round <= rounds; round += 1) {
    step(`${where}, round ${round} of ${rounds}`)
    await stage.settle('ours')
    const moments = await load.ask('measure', { jobs: isShort ? 50 : 1_000, everyMs: 20 })
    const receipts = moments.map(receipt)
    sheet.note(`${where}: receipt, p50`, 'ms', percentile(receipts, 0.5))
    sheet.note(`${where}: receipt, p99`, 'ms', percentile(receipts, 0.99))
    const wholes = moments.map(({ sentAt, receivedAt }) => receivedAt - sentAt)
    sheet.note(`${where}: whole, p50`, 'ms', percentile(wholes, 0.5))
    sheet.note(`${where}: whole, p99`, 'ms', percentile(wholes, 0.99))
  }
  load.stop()
}

function receipt({ answeredAt, receivedAt }: Moments): number {
  return Math.max(0, receivedAt - answeredAt)
}
