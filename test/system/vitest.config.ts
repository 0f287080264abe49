import { defineConfig } from 'vitest/config'
import base from '../vitest.config.ts'

/** What needs tools of the operating system besides what npm brings: see test/support/tools.ts. */
export default defineConfig({
  ...base,
  test: { ...base.test, include: ['test/system/**/*.test.ts'], exclude: [] },
})
