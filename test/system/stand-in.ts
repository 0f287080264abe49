import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { type Balancer, balancerConfig, startBalancer } from '../drills/stage/balancer.ts'
import { Api } from '../support/api.ts'
import { portOf } from '../support/listen.ts'
import { Signals } from '../support/signals.ts'
import { tempFolder } from '../support/temp.ts'
import { findTool } from '../support/tools.ts'

type Probe = number | 'silent'

/** A request that came through the balancer, read to its end. */
export interface Received {
  type: 'request'
  by: string
  method: string
  path: string
  bytes: number
  digest: string
  /** Whoever sent it, or the balancer, hung up. */
  hungUp: Promise<void>
}

export interface Probed {
  type: 'active' | 'ready'
  by: string
}

export type Behave = (response: ServerResponse, request: IncomingMessage) => void

/** A replica whose behaviour is scripted. */
export interface StandIn {
  readonly url: string
  /** How it answers its probes. */
  probes: { active: Probe; ready: Probe }
  /** How it answers anything else, once it has read it. */
  behave: Behave
  /** From now on its connections are refused. */
  leave(): Promise<void>
}

export const ok: Behave = (response) => {
  response.setHeader('Content-Type', 'application/json').end('{}')
}

/** As a replica says that it does not serve. */
export function unserved(code: string): Behave {
  return (response) => {
    response.writeHead(503, { 'Content-Type': 'application/problem+json', 'Retry-After': '1' })
    response.end(JSON.stringify({ status: 503, code, retry_after_ms: 20 }))
  }
}

/** Two stand-ins, of which the first is active, behind a real HAProxy. */
export async function startStage() {
  const events = new Signals<Received | Probed>()
  const one = await startStandIn('one', { active: 200, ready: 200 }, events)
  const two = await startStandIn('two', { active: 503, ready: 200 }, events)
  const balancer = await balance([one.url, two.url], patientConfig())
  /** Who received what was sent to a path, in order. */
  const receivers = (path: string) =>
    events.fired.flatMap((event) => (event.type === 'request' && event.path === path ? event : []))
  return { one, two, balancer, events, receivers, api: new Api(balancer.url, 'a-token') }
}

/** HAProxy with the project's configuration, ended with the test. */
export async function balance(
  replicas: [string, string],
  config = balancerConfig,
): Promise<Balancer> {
  const balancer = await startBalancer({ replicas, config, haproxy: findTool('haproxy') })
  onTestFinished(() => balancer.stop())
  return balancer
}

/** The same, but probes are given 3 s: a busy machine may keep a test's process from answering in 250 ms, and
 *  then HAProxy is right to take it for dead. */
function patientConfig(): string {
  const file = join(tempFolder('balancer'), 'haproxy.cfg')
  const text = readFileSync(balancerConfig, 'utf8')
  const patient = text.replace('timeout check 250ms', 'timeout check 3s')
  if (patient === text) throw new Error('the balancer no longer probes as this test thinks')
  writeFileSync(file, patient)
  return file
}

const probePaths: Record<string, 'active' | 'ready'> = {
  '/health/active': 'active',
  '/health/ready': 'ready',
}

async function startStandIn(
  name: string,
  probes: StandIn['probes'],
  events: Signals<Received | Probed>,
): Promise<StandIn> {
  const answer: RequestListener = async (request, response) => {
    const probe = probePaths[request.url ?? '']
    if (probe) {
      events.fire({ type: probe, by: name })
      return answerProbe(response, standIn.probes[probe])
    }
    const body = await buffer(request)
    events.fire({
      type: 'request',
      by: name,
      method: request.method ?? '',
      path: request.url ?? '',
      bytes: body.length,
      digest: digestOf(body),
      hungUp: new Promise((resolve) => response.once('close', () => resolve())),
    })
    standIn.behave(response, request)
  }
  const server = createServer({ maxHeaderSize: 16_384 }, (request, response) => {
    Promise.resolve(answer(request, response)).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const leave = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  onTestFinished(leave)
  const url = `http://127.0.0.1:${portOf(server)}`
  const standIn: StandIn = { url, probes, behave: ok, leave }
  return standIn
}

function answerProbe(response: ServerResponse, probe: Probe): void {
  if (probe === 'silent') return
  response.statusCode = probe
  response.end('{}')
}

export function digestOf(body: Buffer | string): string {
  return createHash('sha256').update(body).digest('hex')
}
