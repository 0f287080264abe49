import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { wantedVersion } from './postgres-versions.ts'

/** `npm run test:pg -- 16 [path…]`: the suite, or part of it, on another version of Postgres. */
try {
  const [asked, ...paths] = process.argv.slice(2)
  const version = wantedVersion(asked ?? 'without a number')
  const { status } = spawnSync('npm', ['test', '--', ...paths], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: 'inherit',
    env: { ...process.env, UNDERSTUDY_TEST_POSTGRES: version },
  })
  process.exitCode = status ?? 1
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 2
}
