import { type Call, startHttpProxy } from '../support/http-proxy.ts'

export type Meddle = (call: Call) => { status: number; body: string } | undefined

/** In front of a replica: passes on what `meddle` does not answer itself. */
export const startProxy = (target: string, meddle: Meddle) =>
  startHttpProxy(target, async (_request, response, call, pass) => {
    const own = meddle(call)
    if (own) return response.writeHead(own.status).end(own.body)
    const answer = await pass()
    return response.writeHead(answer.status).end(await answer.text())
  })
