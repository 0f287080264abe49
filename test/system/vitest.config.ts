import { defineConfig } from 'vitest/config'
import base from '../vitest.config.ts'

/** What needs tools of the operating system besides what npm brings (test/support/tools.ts), and the runbooks, which
 *  take a minute of real processes. */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ['test/system/**/*.test.ts', 'test/runbooks/**/*.test.ts'],
    exclude: [],
  },
})
