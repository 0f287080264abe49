import { effectsOnce } from './acts.ts'
import { budgets } from './budgets.ts'
import { cancelsArrive } from './cancels.ts'
import { durable } from './durable.ts'
import type { HistoryEvent } from './events.ts'
import { indexHistory } from './indexed.ts'
import { neverEarly } from './never-early.ts'
import { oneOutcome } from './one-outcome.ts'
import { oneOwner } from './one-owner.ts'
import { oneWriter } from './one-writer.ts'
import { onlyActive } from './only-active.ts'
import { type CheckOptions, defaultOptions, type Rule, type Violation } from './violation.ts'

/** By the numbers of DESIGN 3. */
export const rulesByInvariant = new Map<number, Rule[]>([
  [1, oneWriter],
  [2, oneOwner],
  [3, oneOutcome],
  [4, durable],
  [5, effectsOnce],
  [6, cancelsArrive],
  [7, neverEarly],
  [11, budgets],
  [12, onlyActive],
])

/** Everything in a history that should not have been. It has to begin with an empty database, before the
 *  first promotion: what came before its first line would look as if nobody had asked for it. */
export function check(events: HistoryEvent[], options: CheckOptions = defaultOptions): Violation[] {
  const history = indexHistory(events)
  const violations: Violation[] = []
  for (const [invariant, rules] of rulesByInvariant) {
    for (const rule of rules) {
      for (const finding of rule(history, options)) {
        violations.push({ ...finding, invariant, rule: rule.name })
      }
    }
  }
  return violations
}
