import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run test:system` has those.
    exclude: ['test/system/**', 'test/runbooks/**'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 4,
    // A worker loads the modules once. Files share nothing else: what a test starts ends with it, and each file has a
    // database of its own.
    isolate: false,
    // Only to end what hangs: nothing is judged by how long it takes.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // A test that passes only when it is run again is a bug that was found.
    retry: 0,
    allowOnly: false,
    passWithNoTests: false,
  },
})
