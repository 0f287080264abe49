import { createApp } from './app.ts'
import { ConfigError, loadConfig } from './config.ts'
import { createLog } from './log.ts'

/** Longest that a stop may take before the process ends anyway. */
const stopMs = 10_000

/** The process of one replica: config → app → listen → signals → exit code. Ends the process. */
export async function runReplica(): Promise<never> {
  const config = readConfig()
  const log = createLog(config.logLevel, { name: config.name })
  if (!config.adminToken)
    log.warn('UNDERSTUDY_ADMIN_TOKEN is not set: only tokens in the database are good')
  const app = await createApp(config, log)
  const stopped = Promise.withResolvers<number>()
  let signals = 0
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      signals += 1
      if (signals > 1) process.exit(1)
      log.info({ signal }, 'stopping')
      setTimeout(() => process.exit(1), stopMs).unref()
      app.stop().then(
        () => stopped.resolve(0),
        (error) => {
          log.error({ err: error }, 'stopping failed')
          stopped.resolve(1)
        },
      )
    })
  }
  try {
    await app.start()
  } catch (error) {
    log.fatal({ err: error }, 'this replica could not start')
    process.exit(1)
  }
  process.exit(await stopped.promise)
}

function readConfig() {
  try {
    return loadConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(2)
  }
}
