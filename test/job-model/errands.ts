import fc from 'fast-check'
import { type Outcome, type StageSpec, type SweepName, sweepNames } from './calls.ts'
import type { Addressee, Command, Guise, Step } from './commands.ts'
import {
  atOnce,
  boot,
  command,
  key,
  known,
  on,
  onDoubt,
  owner,
  plans,
  step,
  submit,
  who,
} from './draw.ts'

/** What seldom comes about by single commands: a job that is worked on, an act whose attempt is lost and that the next one
 *  asks for again, a move that is owned. What comes between, and at the same time, comes by lot. */

const active = fc.constant<Addressee>('active')
const latest = fc.constant(0)
const own = fc.constant<Guise>('itself')

const one = (command: fc.Arbitrary<Command>) => command.map((drawn): Step[] => [[drawn]])
const inOrder = (...parts: fc.Arbitrary<Step[]>[]) =>
  fc.tuple(...parts).map((steps) => steps.flat())
const sweepNow = (name: SweepName): Step => [{ do: 'sweep', name, at: 'active' }]

const get = one(
  command('poll', {
    who,
    isOld: fc.constant(false),
    max: fc.constant(1),
    isAgain: fc.constant(false),
    at: active,
  }),
)
const ask = one(command('begin', { lease: latest, as: own, key, onDoubt, at: active }))
const giveUp = fc.oneof(
  command('report', {
    lease: latest,
    as: own,
    outcome: fc.constantFrom<Outcome[]>('released', 'failed'),
    retryable: fc.constant(true),
    at: active,
  }).map((report): Step[] => [[report], sweepNow('wake_due_jobs')]),
  fc.constant<Step[]>([[{ do: 'pass', min: 6, isServed: true }], sweepNow('expire_leases')]),
  fc.constant<Step[]>([[{ do: 'pass', min: 6, isServed: true }], [{ do: 'promote' }]]),
  who.map((who): Step[] => [[{ do: 'register', who, at: 'active' }]]),
)
const settleIt = one(command('settle', { begin: latest, as: own, to: known, at: active }))
const ownIt = one(
  command('own', { job: latest, owner, boot, ceilingMin: fc.constantFrom(2, 6), on }),
)
const commitIt = one(command('commit', { token: latest, to: fc.nat(4), on }))

const cancelIt = one(command('cancel', { job: latest, on }))
const retryIt = one(command('retry', { job: latest, on }))
/** Its answer got lost. */
const twice = <T extends Command>(drawn: fc.Arbitrary<T>, more: Partial<T>) =>
  drawn.map((asked): Step[] => [[{ ...asked, ...more }], [{ ...asked, ...more }]])
const moveIt = command('transition', {
  job: latest,
  isHere: fc.constant(true),
  move: fc.constantFrom<('any' | 'this')[]>('any', 'this'),
  to: fc.nat(4),
  key: fc.constant(null),
  on,
})

const section = command('critical', {
  lease: latest,
  as: own,
  enter: fc.constant(true),
  ceilingMin: fc.constantFrom(2, 6),
  at: active,
})
const beat = command('heartbeat', {
  who,
  isOld: fc.constant(false),
  mask: fc.constant(15),
  at: active,
})
const getAgain = one(
  command('poll', {
    who,
    isOld: fc.constant(false),
    max: fc.constant(1),
    isAgain: fc.constant(true),
    at: active,
  }),
)

/** Nobody leads for longer than any deadline, and who leads then looks at once (invariant 7). */
const outage = fc
  .constantFrom(...sweepNames)
  .map((name): Step[] => [
    [{ do: 'pass', min: 6, isServed: false }],
    [{ do: 'promote' }],
    sweepNow(name),
  ])

const ready: Command = {
  do: 'submit',
  key: null,
  maxAttempts: 2,
  delayMin: 0,
  timeoutMin: null,
  stages: [],
  on: 0,
}
const minutes = (min: number): Step => [{ do: 'pass', min, isServed: true }]

/** What is taken from an executor that is heard all the while. */
const deadlines = [
  (get: Step, beat: Step, _deaf: Step): Step[] => [
    [ready],
    get,
    [{ do: 'cancel', job: 0, on: 1 }],
    beat,
    minutes(3),
    sweepNow('end_unanswered_cancels'),
  ],
  (get: Step, beat: Step, _deaf: Step): Step[] => [
    [{ ...ready, timeoutMin: 2 }],
    get,
    minutes(3),
    beat,
    minutes(3),
    sweepNow('enforce_run_timeouts'),
  ],
  (get: Step, _beat: Step, deaf: Step): Step[] => [[ready], get, deaf, minutes(1), deaf],
].map((plan) =>
  who.map((who) => {
    const of = { who, isOld: false, at: 'active' } as const
    const beat = (mask: number): Step => [{ do: 'heartbeat', ...of, mask }]
    return plan([{ do: 'poll', ...of, max: 3, isAgain: false }], beat(15), beat(0))
  }),
)

const staged = fc.constant<Step[]>([[{ ...ready, stages: plans[4] as StageSpec[] }]])
const decided = fc.constant<Step[]>([[{ ...ready, stages: plans[5] as StageSpec[] }]])
const ownAs = (boot: string): Step[] => [
  [{ do: 'own', job: 0, owner: 'pipeline', boot, ceilingMin: 6, on: 0 }],
]

const repeatedAndOwned = [
  // The job that was retried is the latest but one by then.
  fc.constant<Step[]>([
    [ready],
    [{ do: 'cancel', job: 0, on: 1 }],
    [{ do: 'retry', job: 0, on: 0 }],
    [{ do: 'retry', job: 1, on: 1 }],
  ]),
  // Only the end called failed is named by the same place afterwards.
  inOrder(staged, ownIt, twice(command('commit', { token: latest, to: fc.constant(3), on }), {})),
  inOrder(decided, twice(moveIt, { move: 'any', to: 2, key: 't' })),
  inOrder(staged, fc.constant([...ownAs('boot-1'), minutes(6), sweepNow('expire_transitions')])),
  inOrder(staged, fc.constant([...ownAs('boot-1'), ...ownAs('boot-2'), ...ownAs('boot-1')])),
]

const errands = fc.oneof(
  ...deadlines,
  ...repeatedAndOwned,
  inOrder(one(submit), get, outage),
  inOrder(one(submit), get, cancelIt, one(beat), outage),
  inOrder(one(submit), ownIt, outage),
  inOrder(one(submit), get, getAgain),
  inOrder(one(submit), get, one(section), cancelIt, one(beat)),
  inOrder(one(submit), get, ask, giveUp, get, one(section), cancelIt, ask),
  twice(submit, { key: 'k' }),
  inOrder(one(submit), twice(moveIt, { key: 't' })),
  inOrder(one(submit), get, ask, giveUp, cancelIt, retryIt, get, ask),
  inOrder(one(submit), get),
  inOrder(one(submit), get, ask, settleIt),
  inOrder(one(submit), get, ask, giveUp, get, ask),
  inOrder(one(submit), get, ask, giveUp, get, ask, settleIt),
  inOrder(one(submit), ownIt, commitIt),
)

/** What comes beside a step of an errand, and after it: mostly nothing. */
const company = fc.record({
  beside: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step>([]) },
    { weight: 1, arbitrary: fc.array(atOnce, { minLength: 1, maxLength: 2 }) },
  ),
  after: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Step[]>([]) },
    { weight: 1, arbitrary: step.map((drawn) => [drawn]) },
  ),
})

const errand = fc
  .tuple(errands, fc.array(company, { minLength: 12, maxLength: 12 }))
  .map(([steps, companies]) =>
    steps.flatMap((step, place): Step[] => {
      const { beside, after } = companies[place] ?? { beside: [], after: [] }
      // Time stands still while anything is under way.
      const isAlone = step.some((command) => command.do === 'pass')
      return [isAlone ? step : [...step, ...beside], ...after]
    }),
  )

const some = fc.oneof(
  { weight: 7, arbitrary: step.map((drawn) => [drawn]) },
  { weight: 1, arbitrary: errand },
)

export const sequences: fc.Arbitrary<Step[]> = fc
  .array(some, { minLength: 1, maxLength: 50, size: 'max' })
  .map((parts) => parts.flat())
