import { createServer } from 'node:net'

/** From here to 32,000: below those that systems give to outgoing connections, of which one could take it before it is
 *  used. Processes that look at the same time mostly look in different places. */
const width = 2_000
const from = 20_000 + (process.pid % 6) * width

/** A port is asked for before anybody listens on it, and again after that. */
const given = new Set<number>()

/** A port that nobody listens on now, and that this process has not given before. */
export async function findFreePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = from + Math.floor(Math.random() * width)
    if (given.has(port)) continue
    given.add(port)
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
