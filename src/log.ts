import { randomUUID } from 'node:crypto'
import { type DestinationStream, type Logger, pino } from 'pino'

export type Log = Logger

/** The log of one replica; the parts get children of it, or itself. */
export interface ReplicaLog extends Log {
  /** New at every boot, and made with the log, so that no line lacks it. */
  readonly replicaId: string
  /** What every line says besides, from now on. */
  context: () => { term?: number }
}

/** SQLSTATE class 22: the message quotes the value. */
const quoting = /^22/

/** Errors are logged by allow-list: a driver's error carries statement parameters, which may hold a
 *  payload or a secret. */
function tellError(error: unknown, causes = 5): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: `thrown: ${typeof error}` }
  const { code } = error as { code?: unknown }
  const isQuoting = typeof code === 'string' && quoting.test(code)
  const message = isQuoting ? 'the database refused a value' : error.message
  // A cause may be its own, by a detour.
  const hasCause = error.cause !== undefined && causes > 0
  const cause = hasCause ? tellError(error.cause, causes - 1) : undefined
  return { type: error.constructor.name, message, code, cause }
}

/** Where it was thrown, too; the first lines of a stack repeat the message. */
function tellWithStack(error: unknown): Record<string, unknown> {
  const { stack = '' } = error instanceof Error ? error : {}
  const frames = stack.split('\n').filter((line) => line.startsWith('    at '))
  return { ...tellError(error), stack: frames.join('\n') }
}

export function createLog(
  level: string,
  bindings: Record<string, unknown> = {},
  destination?: DestinationStream,
): ReplicaLog {
  const replicaId = randomUUID()
  const options = {
    level,
    base: { ...bindings, replica_id: replicaId },
    mixin: () => log.context(),
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: tellWithStack, cause: (error: unknown) => tellError(error) },
  }
  const log: ReplicaLog = Object.assign(destination ? pino(options, destination) : pino(options), {
    replicaId,
    context: () => ({}),
  })
  return log
}
