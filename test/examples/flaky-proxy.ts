import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'

export interface Call {
  /** The last part of the path: register, poll, heartbeat, report. */
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  body: any
}

/** What a proxy says in place of the replica. `isCut`: and never ends saying. */
export interface Page {
  status: number
  page: string
  isCut?: boolean
}

/** What becomes of an answer: another body, a Page, or `lost`: it was given, and never arrives. */
// biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
export type Meddle = (call: Call, answer: any) => unknown | 'lost'

/** A proxy in front of a replica that passes everything on, and meddles with the answers. */
export async function startFlakyProxy(target: string, meddle: Meddle): Promise<string> {
  const server = createServer((request, response) => {
    forward(target, meddle, request, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function forward(
  target: string,
  meddle: Meddle,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await text(request)
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const answer = await fetch(`${target}${request.url}`, {
    method: request.method ?? 'POST',
    headers: {
      authorization: request.headers.authorization ?? '',
      'content-type': 'application/json',
    },
    body,
    signal: gone.signal,
  })
  const name = request.url?.split('/').at(-1) ?? ''
  const given = await answer.json()
  const changed = answer.ok ? meddle({ name, body: JSON.parse(body) }, given) : given
  if (changed === 'lost') response.destroy()
  else if (isPage(changed)) {
    const length = changed.page.length + (changed.isCut ? 100 : 0)
    response.writeHead(changed.status, { 'content-length': length })
    response.write(changed.page, () => (changed.isCut ? response.destroy() : response.end()))
  } else {
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(changed))
  }
}

function isPage(answer: unknown): answer is Page {
  return typeof answer === 'object' && answer !== null && 'page' in answer
}
