import { AppError } from '../errors.ts'
import type { Gate } from '../leader/gate.ts'
import type { Term } from '../leader/term.ts'

/** The term under which executors may be served now; throws the gate's refusal otherwise. */
export function requireServing(gate: Gate): Term {
  const term = gate.serving
  if (!term) throw refusal(gate)
  return term
}

/** Why this replica serves no executors now. */
export function refusal(gate: Gate): AppError {
  const { state } = gate
  if (state === 'recovering') return new AppError('controller_recovering', 'recovery is under way')
  if (state === 'draining') return new AppError('controller_draining', 'this replica shuts down')
  return new AppError('controller_standby', 'this replica is not the active one')
}
