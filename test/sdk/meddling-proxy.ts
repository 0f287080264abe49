import { text } from 'node:stream/consumers'
import { listen } from './listen.ts'

interface Call {
  /** The last part of the path: register, poll, heartbeat, report. */
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look at whatever came
  body: any
}
export type Meddle = (call: Call) => { status: number; body: string } | undefined

/** In front of a replica: passes on what `meddle` does not answer itself. */
export const startProxy = (target: string, meddle: Meddle) =>
  listen(async (request, response) => {
    const { url = '', method = 'GET', headers } = request
    const sent = await text(request)
    const name = url.split('/').at(-1) ?? ''
    const own = meddle({ name, body: JSON.parse(sent) })
    if (own) return response.writeHead(own.status).end(own.body)
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const answer = await fetch(`${target}${url}`, {
      method,
      headers: { authorization: headers.authorization ?? '', 'content-type': 'application/json' },
      body: sent,
      signal: gone.signal,
    }).catch(() => undefined)
    if (!answer) return response.destroy()
    return response.writeHead(answer.status).end(await answer.text())
  })
