export const apiVersion = '0.1.0'

/** The head of openapi.yaml; the rest is generated from the schemas of the routes. */
export const openapiInfo = {
  openapi: '3.1.0',
  info: {
    title: 'Understudy',
    version: apiVersion,
    description:
      'Control plane for fleets of executor agents. Errors are application/problem+json with a stable `code`.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  components: {
    securitySchemes: { bearer: { type: 'http' as const, scheme: 'bearer' } },
  },
  security: [{ bearer: [] }],
  tags: [
    { name: 'jobs', description: 'Submitting and following work. Any replica.' },
    { name: 'executors', description: 'Doing work. The active replica only.' },
    { name: 'cluster', description: 'Who leads, and how everything stands.' },
    { name: 'tokens', description: 'Who may do what.' },
    { name: 'health', description: 'For load balancers and probes. No token.' },
  ],
}
