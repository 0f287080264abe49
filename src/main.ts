import { type App, createApp } from './app.ts'
import { ConfigError, loadConfig } from './config.ts'
import { createLog, type Log } from './log.ts'
import type { Refusal } from './sql/self-test.ts'

const exitCodes = { stopped: 0, failed: 1, refused: 2 } as const

/** The process of one replica: config → app → listen → until `stopping` → exit code. Ends the process. */
export async function runReplica(stopping: AbortSignal): Promise<never> {
  const config = readConfig()
  const log = createLog(config.logLevel, { name: config.name })
  if (!config.adminToken)
    log.warn('UNDERSTUDY_ADMIN_TOKEN is not set: only tokens in the database are good')
  const app = await createApp(config, log)
  try {
    await app.start()
  } catch (error) {
    log.fatal({ err: error }, 'this replica could not start')
    process.exit(exitCodes.failed)
  }
  const refusals = await Promise.race([aborted(stopping), app.unfit])
  if (refusals) refuse(refusals)
  log.info({ signal: stopping.reason }, 'stopping')
  process.exit(await stop(app, log))
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
  })
}

async function stop(app: App, log: Log): Promise<number> {
  try {
    await app.stop()
    return exitCodes.stopped
  } catch (error) {
    log.error({ err: error }, 'stopping failed')
    return exitCodes.failed
  }
}

/** What no wait will cure is said where a wrong configuration is said, and in the same way. */
function refuse(refusals: Refusal[]): never {
  const lines = refusals.map(({ reason, detail }) => `  - ${reason}: ${detail}`)
  process.stderr.write(`database refused:\n${lines.join('\n')}\n`)
  process.exit(exitCodes.refused)
}

function readConfig() {
  try {
    return loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(exitCodes.refused)
  }
}
