import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePort } from '../../src/dev/ports.ts'
import { type Balancer, balancerConfig, startBalancer } from '../drills/stage/balancer.ts'

/**
 * How soon HAProxy finds that a replica is gone, and how often it thinks so in vain: `node test/bench/balancer.ts`.
 * The figures in docs/balancers.md are its own. The replicas are small processes that answer probes and hold polls.
 */

const rounds = Number(process.argv[2] ?? 10)
const busyMs = Number(process.argv[3] ?? 30_000)
const hogCount = Number(process.argv[4] ?? 40)

const replicaSource = `
const [port, status] = process.argv.slice(1).map(Number)
require('node:http').createServer((request, response) => {
  if (request.url === '/health/active') response.writeHead(status).end('{}')
  else if (request.url === '/health/ready') response.end('{}')
}).listen(port, '127.0.0.1', () => process.stdout.write('listening'))
`

interface Replica {
  child: ChildProcess
  url: string
}

async function startReplica(activeStatus: number): Promise<Replica> {
  const port = await findFreePort()
  const child = spawn(process.execPath, ['-e', replicaSource, String(port), String(activeStatus)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  return { child, url: `http://127.0.0.1:${port}` }
}

/** The configuration with another `fall`. */
function configWith(fall: number): string {
  const file = join(tmpdir(), `understudy-fall-${fall}-${process.pid}.cfg`)
  const text = readFileSync(balancerConfig, 'utf8')
  writeFileSync(file, text.replace(/ fall \d+ /, ` fall ${fall} `))
  return file
}

async function withPair<T>(
  config: string,
  act: (balancer: Balancer, active: Replica) => Promise<T>,
) {
  const pair = [await startReplica(200), await startReplica(503)] as const
  const balancer = await startBalancer({ replicas: [pair[0].url, pair[1].url], config })
  try {
    return await act(balancer, pair[0])
  } finally {
    await balancer.stop()
    for (const { child } of pair) child.kill('SIGKILL')
  }
}

/** From the signal until the poll that was parked there has ended. */
function measureEnd(config: string, signal: NodeJS.Signals): Promise<number> {
  return withPair(config, async (balancer, { child }) => {
    const init = { method: 'POST', body: '{}' }
    const poll = fetch(`${balancer.url}/v1/executors/e/poll`, init).catch(() => undefined)
    while ((await balancer.count('active/one', 'scur')) === 0) await sleep(5)
    // At any moment between two probes.
    await sleep(Math.random() * 250)
    child.kill(signal)
    const since = performance.now()
    if (signal === 'SIGSTOP') await poll
    else await balancer.untilState('active/one', (state) => state === 'DOWN')
    return performance.now() - since
  })
}

/** Replicas taken for down that were not, with more at work than the machine has cores. */
function countFalseDowns(config: string): Promise<string> {
  return withPair(config, async (balancer) => {
    const hogs = Array.from({ length: hogCount }, () =>
      spawn(process.execPath, ['-e', 'for (;;);']),
    )
    await sleep(busyMs)
    const servers = ['active/one', 'active/two', 'ready/one', 'ready/two'] as const
    const sum = async (name: string) => {
      let all = 0
      for (const server of servers) all += await balancer.count(server, name)
      return all
    }
    const [failed, downs] = [await sum('chkfail'), await sum('chkdown')]
    for (const hog of hogs) hog.kill('SIGKILL')
    return `${failed} failed probes, ${downs} times down`
  })
}

function summary(times: number[]): string {
  const sorted = times.map(Math.round).sort((a, b) => a - b)
  return `median ${sorted[Math.floor(sorted.length / 2)]} ms, worst ${sorted.at(-1)} ms of ${sorted.length}`
}

for (const fall of [1, 2]) {
  const config = configWith(fall)
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    const times: number[] = []
    while (times.length < rounds) times.push(await measureEnd(config, signal))
    process.stdout.write(`fall ${fall}, ${signal}: ${summary(times)}\n`)
  }
  process.stdout.write(
    `fall ${fall}, ${busyMs} ms with ${hogCount} hogs: ${await countFalseDowns(config)}\n`,
  )
  rmSync(config)
}
