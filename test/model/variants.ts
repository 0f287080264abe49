/** The design as it is, and with one part of it out: what `npm run model` asks of docs/model/leadership.pml. */
export interface Variant {
  name: string
  /** What the preprocessor is told. */
  defines: string[]
  /** The property that must fail, as the comment beside its assert begins; null: none may, in any order of events. */
  expected: string | null
  what: string
}

const out = (name: string, expected: string | null, what: string): Variant => ({
  name,
  defines: [name],
  expected,
  what,
})

/** Looks for one run among all, so fewer transactions at a time lose nothing. */
const denied = (name: string, expected: string, what: string): Variant => ({
  name,
  defines: [name, 'ONE_CONNECTION'],
  expected,
  what,
})

export const variants: Variant[] = [
  { name: 'DESIGN', defines: [], expected: null, what: 'the design as it is' },
  out('NO_FENCE', 'P1', 'transactions do not ask whether their term is over'),
  out('UNLOCKED_CHECK', 'P1', 'they ask without the shared lock, as WHERE EXISTS would'),
  out('STALE_SNAPSHOT', 'P1', 'they ask in the snapshot from before the lock, as STABLE would'),
  out('SPLIT_PROMOTION', 'P1', 'promote() reads in one transaction and writes in another'),
  out('NO_CAS', 'P3', 'what was decided is written though the row has changed'),
  out('NO_GATE', 'P12', 'executors are served before recovery is done'),
  out('NO_LOCK', null, 'promote() without the lock of the active: safe all the same'),
  denied('DENY_SURVIVAL', 'denied', 'that a job claimed in one term is finished in a later one'),
  denied('DENY_TAKEOVER', 'denied', 'that a job is taken back, and finished by its next owner'),
]
