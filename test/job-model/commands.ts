import fc from 'fast-check'
import { type OnDoubt, type Outcome, type StageSpec, type SweepName, sweepNames } from './calls.ts'

/** What is drawn by lot: calls that name what they are about by its place among what there is, counted from the latest,
 *  so that they mean something wherever a sequence has led, and whatever is left out of it. */

/** Under whose name a lease is used: its own, that of its executor's present process, or of the other executor. */
export type Guise = 'itself' | 'renewed' | 'other'
/** The replica that leads, or the one that did before and has not noticed. */
export type Addressee = 'active' | 'zombie'

export type Command =
  | { do: 'register'; who: number; at: Addressee }
  | { do: 'deregister'; who: number; isOld: boolean; by: 'executor' | 'operator'; at: Addressee }
  | { do: 'poll'; who: number; isOld: boolean; max: number; at: Addressee }
  | { do: 'heartbeat'; who: number; isOld: boolean; mask: number; at: Addressee }
  | { do: 'report'; lease: number; as: Guise; outcome: Outcome; retryable: boolean; at: Addressee }
  | { do: 'begin'; lease: number; as: Guise; key: string; onDoubt: OnDoubt; at: Addressee }
  | { do: 'begin_again'; begin: number; lease: number | null; at: Addressee }
  | { do: 'settle'; begin: number; as: Guise; to: 'committed' | 'aborted'; at: Addressee }
  | {
      do: 'critical'
      lease: number
      as: Guise
      enter: boolean
      ceilingMin: number
      at: Addressee
    }
  | { do: 'sweep'; name: SweepName; at: Addressee }
  | {
      do: 'submit'
      key: string | null
      maxAttempts: number
      delayMin: number
      timeoutMin: number | null
      stages: StageSpec[]
      on: 0 | 1
    }
  | { do: 'cancel'; job: number; on: 0 | 1 }
  | { do: 'retry'; job: number; on: 0 | 1 }
  | { do: 'resolve'; begin: number; isInherited: boolean; to: 'committed' | 'aborted'; on: 0 | 1 }
  | {
      do: 'transition'
      job: number
      isHere: boolean
      move: 'any' | 'this' | 'before'
      to: number
      key: string | null
      on: 0 | 1
    }
  | { do: 'own'; job: number; owner: string; boot: string; ceilingMin: number; on: 0 | 1 }
  | { do: 'commit'; token: number; to: number; on: 0 | 1 }
  | { do: 'abandon'; token: number; isForced: boolean; on: 0 | 1 }
  | { do: 'pass'; min: number; isServed: boolean }
  | { do: 'promote' }

/** One command, or several at the same time. */
export type Step = Command[]

const plans: StageSpec[][] = [
  [],
  [],
  [],
  [
    { name: 'a', manual: false },
    { name: 'b', manual: false },
  ],
  [
    { name: 'a', manual: false },
    { name: 'approve', manual: true },
    { name: 'b', manual: false },
  ],
  [
    { name: 'approve', manual: true },
    { name: 'b', manual: false },
  ],
]

/** Mostly the first. */
const mostly = <T>(first: T, ...rest: T[]) =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(first) }, ...rest.map((item) => fc.constant(item)))

const recent = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 5, arbitrary: fc.nat(3) },
)
const who = fc.nat(1)
const at = mostly<Addressee>('active', 'zombie')
const on = fc.constantFrom<(0 | 1)[]>(0, 1)
const as = mostly<Guise>('itself', 'renewed', 'other')
const isOld = mostly(false, true)
const key = mostly('deploy', 'mail')
const known = fc.constantFrom<('committed' | 'aborted')[]>('committed', 'aborted')
const outcome = fc.constantFrom<Outcome[]>(
  'succeeded',
  'succeeded',
  'failed',
  'failed',
  'cancelled',
  'released',
)
const onDoubt = fc.constantFrom<OnDoubt[]>('retry', 'reconcile', 'hold')
const is = <T extends string>(name: T) => fc.constant(name)

function command<T extends Command['do'], Rest extends object>(
  name: T,
  rest: { [K in keyof Rest]: fc.Arbitrary<Rest[K]> },
) {
  return fc.record({ do: is(name), ...rest } as never) as unknown as fc.Arbitrary<
    Extract<Command, { do: T }>
  >
}

const active = fc.constant<Addressee>('active')
const latest = fc.constant(0)
const own = fc.constant<Guise>('itself')
const owner = mostly('pipeline', 'somebody')
const boot = mostly('boot-1', 'boot-2')

const one = (command: fc.Arbitrary<Command>) => command.map((drawn): Step[] => [[drawn]])
const inOrder = (...parts: fc.Arbitrary<Step[]>[]) =>
  fc.tuple(...parts).map((steps) => steps.flat())
const sweepNow = (name: SweepName): Step => [{ do: 'sweep', name, at: 'active' }]

const submit = command('submit', {
  key: mostly<string | null>(null, 'k'),
  maxAttempts: fc.integer({ min: 1, max: 3 }),
  delayMin: mostly(0, 2),
  timeoutMin: mostly<number | null>(null, 2),
  stages: fc.constantFrom(...plans),
  on,
})

/** How often each is drawn, against the others. */
const drawn: fc.WeightedArbitrary<Command>[] = [
  { weight: 7, arbitrary: submit },
  {
    weight: 16,
    arbitrary: command('poll', { who, isOld, max: fc.integer({ min: 1, max: 3 }), at }),
  },
  { weight: 6, arbitrary: command('heartbeat', { who, isOld, mask: fc.nat(15), at }) },
  {
    weight: 9,
    arbitrary: command('report', {
      lease: recent,
      as,
      outcome,
      retryable: mostly(true, false),
      at,
    }),
  },
  { weight: 2, arbitrary: command('register', { who, at }) },
  {
    weight: 1,
    arbitrary: command('deregister', {
      who,
      isOld,
      by: fc.constantFrom<('executor' | 'operator')[]>('executor', 'operator'),
      at,
    }),
  },
  { weight: 14, arbitrary: command('begin', { lease: recent, as, key, onDoubt, at }) },
  {
    weight: 5,
    arbitrary: command('begin_again', {
      begin: recent,
      lease: fc.option(recent, { nil: null }),
      at,
    }),
  },
  { weight: 10, arbitrary: command('settle', { begin: recent, as, to: known, at }) },
  {
    weight: 4,
    arbitrary: command('critical', {
      lease: recent,
      as,
      enter: mostly(true, false, false),
      ceilingMin: fc.constantFrom(2, 6),
      at,
    }),
  },
  {
    weight: 4,
    arbitrary: command('resolve', {
      begin: recent,
      isInherited: mostly(true, false),
      to: known,
      on,
    }),
  },
  { weight: 3, arbitrary: command('cancel', { job: recent, on }) },
  { weight: 4, arbitrary: command('retry', { job: recent, on }) },
  {
    weight: 5,
    arbitrary: command('transition', {
      job: recent,
      isHere: mostly(true, false),
      move: fc.constantFrom<('any' | 'this' | 'before')[]>('any', 'this', 'before'),
      to: fc.nat(4),
      key: mostly<string | null>(null, 't'),
      on,
    }),
  },
  {
    weight: 5,
    arbitrary: command('own', {
      job: recent,
      owner,
      boot,
      ceilingMin: fc.constantFrom(2, 6),
      on,
    }),
  },
  { weight: 4, arbitrary: command('commit', { token: recent, to: fc.nat(4), on }) },
  {
    weight: 2,
    arbitrary: command('abandon', { token: recent, isForced: mostly(false, true), on }),
  },
  { weight: 10, arbitrary: command('sweep', { name: fc.constantFrom(...sweepNames), at }) },
]

const pass = command('pass', { min: fc.constantFrom(1, 3, 6), isServed: mostly(true, false) })
const promote = command('promote', {})

const alone = fc.oneof(
  { weight: 90, arbitrary: fc.oneof(...drawn) },
  { weight: 9, arbitrary: pass },
  { weight: 2, arbitrary: promote },
)
const atOnce = fc.oneof(
  { weight: 95, arbitrary: fc.oneof(...drawn) },
  { weight: 4, arbitrary: promote },
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: alone.map((one) => [one]) },
  { weight: 1, arbitrary: fc.array(atOnce, { minLength: 2, maxLength: 3 }) },
)

/** What seldom comes about by single commands: a job that is worked on, an act whose attempt is lost and that the next one
 *  asks for again, a move that is owned. Whatever comes between, or at the same time, comes by lot. */
const get = one(
  command('poll', { who, isOld: fc.constant(false), max: fc.constant(1), at: active }),
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

const errand = fc.oneof(
  twice(submit, { key: 'k' }),
  inOrder(one(submit), twice(moveIt, { key: 't' })),
  inOrder(one(submit), get, ask, giveUp, cancelIt, retryIt, get, ask),
  inOrder(one(submit), get),
  inOrder(one(submit), get, ask, settleIt),
  inOrder(one(submit), get, ask, giveUp, get, ask),
  inOrder(one(submit), get, ask, giveUp, get, ask, settleIt),
  inOrder(one(submit), ownIt, commitIt),
)

const some = fc.oneof(
  { weight: 7, arbitrary: step.map((drawn) => [drawn]) },
  { weight: 1, arbitrary: errand },
)

export const sequences: fc.Arbitrary<Step[]> = fc
  .array(some, { minLength: 1, maxLength: 50, size: 'max' })
  .map((parts) => parts.flat())
