import fc from 'fast-check'
import { type OnDoubt, type Outcome, type StageSpec, sweepNames } from './calls.ts'
import type { Addressee, Command, Guise, Step } from './commands.ts'

/** How commands are drawn: alone, and at the same time. */

export const plans: StageSpec[][] = [
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
export const who = fc.nat(1)
const at = mostly<Addressee>('active', 'zombie')
export const on = fc.constantFrom<(0 | 1)[]>(0, 1)
const as = mostly<Guise>('itself', 'renewed', 'other')
const isOld = mostly(false, true)
export const key = mostly('deploy', 'mail')
export const owner = mostly('pipeline', 'somebody')
export const boot = mostly('boot-1', 'boot-2')
export const known = fc.constantFrom<('committed' | 'aborted')[]>('committed', 'aborted')
const outcome = fc.constantFrom<Outcome[]>(
  'succeeded',
  'succeeded',
  'failed',
  'failed',
  'cancelled',
  'released',
)
export const onDoubt = fc.constantFrom<OnDoubt[]>('retry', 'reconcile', 'hold')
const is = <T extends string>(name: T) => fc.constant(name)

export function command<T extends Command['do'], Rest extends object>(
  name: T,
  rest: { [K in keyof Rest]: fc.Arbitrary<Rest[K]> },
) {
  return fc.record({ do: is(name), ...rest } as never) as unknown as fc.Arbitrary<
    Extract<Command, { do: T }>
  >
}

export const submit = command('submit', {
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
    arbitrary: command('poll', {
      who,
      isOld,
      max: fc.integer({ min: 1, max: 3 }),
      isAgain: isOld,
      at,
    }),
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
export const atOnce = fc.oneof(
  { weight: 95, arbitrary: fc.oneof(...drawn) },
  { weight: 4, arbitrary: promote },
)

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: alone.map((one) => [one]) },
  { weight: 1, arbitrary: fc.array(atOnce, { minLength: 2, maxLength: 3 }) },
)
