import type { Exposition } from './http/routes/metrics.ts'
import { standingOf, standings } from './http/standing.ts'
import type { Parts } from './parts.ts'

/** The metrics, from memory alone: they are told whatever state this replica is in, and cost no query. */
export function exposition(parts: Parts): () => Promise<Exposition> {
  const { metrics, gate, watch, wiring, pools } = parts
  const { waitList } = wiring
  return async () => ({
    contentType: metrics.contentType,
    text: await metrics.render({
      state: gate.state,
      isReady: standings[standingOf(gate.state, watch)].ready === 'served',
      isLeading: gate.leading !== undefined,
      term: gate.leading?.number ?? watch.leader?.term ?? 0,
      trustMarginMs: gate.leading?.marginMs ?? 0,
      isDatabaseReachable: watch.isReachable,
      waiting: {
        poll: waitList.count('poll'),
        job: waitList.count('job'),
        lock: waitList.count('lock'),
      },
      pools,
    }),
  })
}
