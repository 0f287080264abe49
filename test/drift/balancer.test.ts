import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { limits } from '../../src/contract/common.ts'
import { edgeDefaults, maxHeaderBytes } from '../../src/http/edge.ts'
import { handlerTimeoutMs } from '../../src/timings.ts'

/** What docker/haproxy.cfg and compose.yaml rest on, held against what they rest on. */

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
const balancer = read('docker/haproxy.cfg')

interface Service {
  image: string
  build?: { dockerfile: string }
  user?: string
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  restart?: string
  environment: Record<string, string>
  healthcheck?: { test?: string[]; disable?: boolean }
  depends_on?: Record<string, { condition: string }>
  volumes?: string[]
  ports?: string[]
}

const compose = parse(read('compose.yaml'), { merge: true })
const services = Object.entries(compose.services as Record<string, Service>)
const dockerfile = read('docker/Dockerfile')

/** A setting of the balancer, in milliseconds or bytes. */
function setting(name: string): number {
  const [, value = '', unit = ''] =
    new RegExp(`^  ${name} (\\d+)(s|ms)?$`, 'm').exec(balancer) ?? []
  return Number(value) * (unit === 's' ? 1_000 : 1)
}

test('a buffer of the balancer holds the largest single submit with the largest header', () => {
  const rewriteBytes = 1_024
  expect(setting('tune.bufsize')).toBeGreaterThanOrEqual(
    limits.submitBodyBytes + maxHeaderBytes + rewriteBytes,
  )
})

test('the balancer waits longer than any replica takes to answer, and closes its connections before a replica does', () => {
  for (const side of ['client', 'server']) {
    expect(setting(`timeout ${side}`)).toBeGreaterThan(handlerTimeoutMs)
  }
  expect(setting('timeout http-keep-alive')).toBeLessThan(edgeDefaults.keepAliveMs)
})

test('the balancer waits for what it holds as long as a replica would', () => {
  const { headersMs, bodyPace } = edgeDefaults
  const bufferMs = setting('tune.bufsize') / bodyPace.slowest
  expect(setting('timeout http-request')).toBeGreaterThan(bodyPace.graceMs + bufferMs)
  expect(setting('timeout http-request')).toBeGreaterThan(headersMs)
})

test.each(services)(
  'service %s: fixed tag, read-only, not root, no privileges',
  (_name, service) => {
    expect(service.image).toMatch(/^(understudy:local|[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+)$/)
    expect(service.read_only).toBe(true)
    expect(service.cap_drop).toEqual(['ALL'])
    expect(service.security_opt).toEqual(['no-new-privileges:true'])
    const user = service.build ? /^USER (.+)$/m.exec(dockerfile)?.[1] : service.user
    expect(user).toMatch(/^(10001:10001|postgres|haproxy)$/)
  },
)

test.each(services)('service %s: has a health check, or serves nobody', (name, service) => {
  const isChecked = service.build ? /^HEALTHCHECK/m.test(dockerfile) : service.healthcheck?.test
  if (name === 'migrate' || name === 'agent') expect(service.healthcheck).toEqual({ disable: true })
  else expect(isChecked).toBeTruthy()
})

test('compose starts what others need before them, and two replicas of one image', () => {
  const named = Object.fromEntries(services)
  const needs = (name: string) => Object.entries(named[name]?.depends_on ?? {})
  expect(needs('migrate')).toEqual([['postgres', { condition: 'service_healthy' }]])
  for (const name of ['one', 'two']) {
    expect(needs(name)).toEqual([['migrate', { condition: 'service_completed_successfully' }]])
  }
  const images = ['migrate', 'one', 'two', 'agent'].map((name) => named[name]?.image)
  expect(new Set(images)).toEqual(new Set(['understudy:local']))
  for (const [name] of services) {
    for (const [needed] of needs(name)) expect(named).toHaveProperty(needed)
  }
})

test('compose runs the balancer with the project’s configuration, in front of both replicas', () => {
  const { volumes, environment, ports, depends_on } = compose.services.balancer as Service
  expect(volumes).toEqual(['./docker/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro'])
  expect(ports).toEqual(['127.0.0.1:4600:4600'])
  expect(environment).toEqual({
    UNDERSTUDY_ONE: 'one:4600',
    UNDERSTUDY_TWO: 'two:4600',
    BALANCER_BIND: ':4600',
  })
  expect(Object.keys(depends_on ?? {})).toEqual(['one', 'two'])
  const known = [...balancer.matchAll(/\b((?:UNDERSTUDY|BALANCER)_[A-Z]+)\b/g)].map(
    ([, name]) => name,
  )
  for (const name of Object.keys(environment)) expect(known).toContain(name)
})

test('the image: stages with fixed tags, a number for a user, node itself as process 1', () => {
  const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base)
  expect(bases.length).toBeGreaterThan(1)
  for (const base of bases) expect(base).toMatch(/^node:\d+\.\d+\.\d+-[a-z]+-slim$/)
  expect(dockerfile).toMatch(/^USER 10001:10001$/m)
  expect(dockerfile).toMatch(/^ENTRYPOINT \["node", "\/app\/src\/cli\/main\.ts"\]$/m)
  expect(dockerfile).toMatch(/ln -s \/app\/src\/cli\/main\.ts \/usr\/local\/bin\/understudy/)
})
