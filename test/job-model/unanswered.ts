import type { Answer, Call } from './calls.ts'
import { ok, type State } from './rules/state.ts'
import type { View } from './tables.ts'

/** What a call whose answer got lost may have been told, if it was done: that which the model leaves to the system is what
 *  the model does not know of what is there now. */
export function mayHaveBeenTold(call: Call, before: State, view: View): Answer[] {
  switch (call.do) {
    case 'promote':
      return [ok({ term: view.term })]
    case 'submit':
    case 'retry': {
      const of = call.do === 'retry' ? call.job : null
      const made = view.jobs.filter(({ id, retryOf }) => !before.jobs[id] && retryOf === of)
      return [ok(), ...made.map(({ id }) => ok({ job: id, isNew: true }))]
    }
    case 'own': {
      const known = new Set(before.jobs[call.job]?.transitions.map(({ token }) => token))
      const made = view.transitions.filter(
        ({ job, token }) => job === call.job && !known.has(token),
      )
      return [ok(), ...made.map(({ token }) => ok({ token }))]
    }
    case 'begin': {
      const { lease, key } = call
      const effect = view.effects.find((each) => each.job === lease.job && each.key === key)
      return [ok({ token: effect?.token })]
    }
    case 'poll': {
      const isTheirs = ({ id, executor, fence }: View['jobs'][number]) =>
        executor === call.executor && fence > (before.jobs[id]?.fence ?? 0)
      return [ok({ given: view.jobs.filter(isTheirs).map(({ id }) => ({ job: id })) })]
    }
    default:
      return [ok()]
  }
}
