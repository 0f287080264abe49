import type { Drill } from './drill.ts'
import { balancerCutOff } from './faults/balancer-cut-off.ts'
import { blockedLoop } from './faults/blocked-loop.ts'
import { bothDown } from './faults/both-down.ts'
import { cutOffDropped, cutOffHalfOpen } from './faults/cut-off.ts'
import { failsOpen } from './faults/fails-open.ts'
import { fiveReplicas } from './faults/five-replicas.ts'
import { freeze } from './faults/freeze.ts'
import { freezeExecutors } from './faults/freeze-executors.ts'
import { freezeInTransaction } from './faults/freeze-in-transaction.ts'
import { handOver } from './faults/hand-over.ts'
import { killInRecovery, postgresInRecovery } from './faults/in-recovery.ts'
import { killActive } from './faults/kill-active.ts'
import { largeTable } from './faults/large-table.ts'
import { lockSession } from './faults/lock-session.ts'
import { postgresKill, postgresRestart } from './faults/postgres.ts'
import { randomKills } from './faults/random-kills.ts'
import { rollingUpgrade } from './faults/rolling-upgrade.ts'
import { slowDatabase } from './faults/slow-database.ts'
import { stepDown } from './faults/step-down.ts'
import { takeover } from './faults/takeover.ts'
import { thousandExecutors } from './faults/thousand-executors.ts'

/** All of them, in the order in which they run. */
export const drills: Drill[] = [
  killActive,
  handOver,
  stepDown,
  freeze,
  freezeInTransaction,
  lockSession,
  takeover,
  blockedLoop,
  cutOffDropped,
  cutOffHalfOpen,
  slowDatabase,
  balancerCutOff,
  failsOpen,
  postgresRestart,
  postgresKill,
  postgresInRecovery,
  killInRecovery,
  freezeExecutors,
  randomKills,
  fiveReplicas,
  bothDown,
  thousandExecutors,
  rollingUpgrade,
  largeTable,
]
