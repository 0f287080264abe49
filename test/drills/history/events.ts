/**
 * A history: what everybody who takes part in a drill saw, one JSON line each. Actors (executors, submitters)
 * write what they asked and were answered; the stage writes faults; the database's own log, by logical
 * decoding, gives the commits in their true order. The checker is a pure function of it.
 *
 * `at` is milliseconds of the machine's monotonic clock, which all its processes share, so that lines of
 * several files can be put in one order. `wall` and `committedAt` are milliseconds since the epoch, of the
 * machine's wall clock, which Postgres stamps commits with; `clock` lines tie the two together.
 */
export type HistoryEvent =
  | ClockEvent
  | ReplicaEvent
  | InvokeEvent
  | AnswerEvent
  | LostEvent
  | GaveUpEvent
  | ActedEvent
  | FaultEvent
  | DrainedEvent
  | CommitEvent

export interface ClockEvent {
  type: 'clock'
  at: number
  wall: number
}

/** A process of a replica began; `url` is what actors without a balancer call it by. */
export interface ReplicaEvent {
  type: 'replica'
  at: number
  name: string
  replicaId: string
  url: string
  /** What the balancer calls the place that it runs in, if it stands behind one. */
  server?: string
}

/** One request, one try. What becomes of it is an `answer` or a `lost` line with the same `op`; neither:
 *  nobody knows whether it was carried out. */
export interface InvokeEvent {
  type: 'invoke'
  at: number
  /** Unique in the history. */
  op: string
  /** Who asks: `fleet-1`, `submitter-direct`, … */
  actor: string
  method: string
  /** Of a replica, or of the balancer. */
  url: string
  path: string
  body: unknown
}

export interface AnswerEvent {
  type: 'answer'
  at: number
  op: string
  status: number
  /** The server that answered, as the balancer says; absent: there was none between. */
  servedBy?: string
  /** undefined: it was no JSON. */
  body?: unknown
}

export interface LostEvent {
  type: 'lost'
  at: number
  op: string
  why: string
  /** False: it never left, so it was certainly not carried out. */
  wasSent: boolean
}

/** The SDK told its user that a submit failed, for all its tries. */
export interface GaveUpEvent {
  type: 'gave_up'
  at: number
  actor: string
  key: string
}

/** An act in the world outside: this line is the act, and nobody can take it back. */
export interface ActedEvent {
  type: 'acted'
  at: number
  actor: string
  /** For which job, under which lease. */
  jobId: string
  fence: number
  /** Of the effect. */
  key: string
  token: string
}

/** Something was done to somebody, from `start` to `end`; a fault that heals by itself has no end. */
export interface FaultEvent {
  type: 'fault'
  at: number
  fault: string
  /** A replica's name, `postgres`, `balancer`, an actor, … */
  target: string
  phase: 'start' | 'end'
}

/** Nothing was submitted any more, and everything acknowledged had its time to end. */
export interface DrainedEvent {
  type: 'drained'
  at: number
}

export interface CommitEvent {
  type: 'commit'
  /** Its place in the order of commits, from 1. */
  order: number
  xid: number
  committedAt: number
  /** The term and replica that the transaction gave to `fence_term`; absent: it came through another door. */
  writer?: { term: number; replicaId: string }
  changes: Change[]
}

/** A row as it stood after the change (after a delete: its key). Columns are text as Postgres prints them,
 *  or null; columns that did not change and lie out of line are absent. */
export interface Change {
  table: string
  kind: 'insert' | 'update' | 'delete'
  row: Record<string, string | null>
}
