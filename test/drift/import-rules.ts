/**
 * "Imports go one way" (DESIGN 9), as a table. A part of src/ is a top-level file without its ending,
 * a folder, or a folder within one where that has rules of its own. A part may import itself, and:
 */
export interface Rule {
  /** Parts, or single files, that it may use. */
  uses: readonly string[]
  /** Those of which it may know types alone. */
  types?: readonly string[]
  /** Packages; absent: any in `dependencies`. `node:` stands for all of Node. */
  packages?: readonly string[]
}

const basics = ['backoff', 'clock', 'errors', 'loop', 'nudge'] as const
const root = [...basics, 'timings', 'version'] as const

export const rules: Record<string, Rule> = {
  // The last four: the commands that start something.
  cli: {
    uses: ['sdk', 'config', 'agent', 'dev', 'main', 'sql/migrate', 'version'],
    types: ['contract'],
  },
  agent: { uses: ['sdk'], packages: ['node:'] },
  sdk: { uses: ['contract', 'backoff', 'clock', 'nudge'], packages: ['node:', 'undici', 'uuid'] },
  contract: { uses: [], packages: ['zod'] },

  main: { uses: ['app', 'config', 'log'], types: ['sql/self-test'] },
  app: {
    uses: [
      'parts',
      'duties',
      'expose',
      'http',
      'ui',
      'leader',
      'services',
      'sql',
      'config',
      'timings',
      ...root,
    ],
    types: ['log'],
  },
  parts: {
    uses: ['leader', 'recovery', 'services', 'sql', 'metrics', ...root],
    types: ['config', 'log'],
  },
  expose: { uses: ['http'], types: ['parts'] },
  duties: {
    uses: ['recovery', 'sweep', 'services', 'sql'],
    types: ['parts', 'leader', 'domain', 'config', 'log', 'loop'],
  },
  'http/routes': { uses: ['http', 'contract', 'errors'], types: ['services'] },
  http: {
    uses: ['http/routes', 'contract', 'errors', 'version'],
    types: ['services', 'leader', 'sql', 'log'],
  },
  ui: { uses: ['http', 'errors'], types: ['services', 'contract'] },
  services: { uses: ['sql', 'domain', 'contract', ...basics], types: ['leader', 'config', 'log'] },
  recovery: { uses: ['services', 'sql', 'domain', ...basics], types: ['leader', 'log'] },
  sweep: { uses: ['services', 'sql', 'domain', ...basics], types: ['leader', 'log'] },
  // Neither recovery nor sweep, services nor http: app.ts hands those in as functions.
  leader: { uses: ['sql', ...basics], types: ['log'] },
  // The one part that knows of Prometheus; it is called through functions alone.
  metrics: {
    uses: ['leader/term', 'domain', 'errors'],
    types: ['leader', 'loop'],
    packages: ['node:', 'prom-client'],
  },
  sql: { uses: ['domain', 'errors'], types: ['log'], packages: ['node:', 'pg', 'kysely'] },
  domain: { uses: ['backoff'], packages: [] },

  dev: { uses: ['sdk', 'cli', 'config', 'sql/migrate'], types: ['contract'] },
  loop: { uses: ['backoff', 'nudge'], types: ['clock', 'log'] },
  log: { uses: [] },
  config: { uses: ['timings'] },
  timings: { uses: [], packages: [] },
  errors: { uses: [], packages: [] },
  clock: { uses: [], packages: ['node:'] },
  backoff: { uses: [], packages: [] },
  nudge: { uses: [], packages: [] },
  version: { uses: [], packages: [] },
}

/** Only here may a file hand on what another exports. */
export const barrels = ['sdk/index.ts']

/** Folders that run from a checkout, and may therefore use devDependencies. */
export const checkoutOnly = ['dev']
