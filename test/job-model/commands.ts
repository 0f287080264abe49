import type { OnDoubt, Outcome, StageSpec, SweepName } from './calls.ts'

/** What is drawn by lot (draw.ts): calls that name what they are about by its place among what there is, counted from the latest,
 *  so that they mean something wherever a sequence has led, and whatever is left out of it. */

/** Under whose name a lease is used: its own, that of its executor's present process, or of the other executor. */
export type Guise = 'itself' | 'renewed' | 'other'
/** The replica that leads, or the one that did before and has not noticed. */
export type Addressee = 'active' | 'zombie'

export type Command =
  | { do: 'register'; who: number; at: Addressee }
  | { do: 'deregister'; who: number; isOld: boolean; by: 'executor' | 'operator'; at: Addressee }
  | { do: 'poll'; who: number; isOld: boolean; max: number; isAgain: boolean; at: Addressee }
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
