import { type Logger, pino, stdSerializers } from 'pino'

export type Log = Logger

/** Errors are logged by allow-list: a driver's error carries statement parameters, which may hold a
 *  payload or a secret. */
function serializeError(error: unknown) {
  if (!(error instanceof Error)) return { message: String(error) }
  const { type, message, stack } = stdSerializers.err(error)
  const code = (error as { code?: unknown }).code
  return { type, message, code, stack }
}

export function createLog(level: string, bindings: Record<string, unknown> = {}): Log {
  return pino({
    level,
    base: bindings,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: serializeError },
  })
}
