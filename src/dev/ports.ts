import { createServer } from 'node:net'

/** Below those that systems give to outgoing connections, of which one could take it before it is used. */
const range = { from: 20_000, to: 32_000 }
const width = range.to - range.from

/** What was looked at: on one that was given nobody may listen yet, or just now. */
const tried = new Set<number>()

/** A port that nobody listens on now, and that this process has not given lately. */
export async function findFreePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    if (tried.size > width / 2) tried.clear()
    const port = range.from + Math.floor(Math.random() * width)
    if (tried.has(port)) continue
    tried.add(port)
    if (await isPortFree(port)) return port
  }
  throw new Error('no free port was found')
}

export async function isPortFree(port: number): Promise<boolean> {
  const server = createServer()
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false)).once('listening', () => resolve(true))
    server.listen(port, '127.0.0.1')
  })
  await new Promise((resolve) => server.close(resolve))
  return isFree
}
