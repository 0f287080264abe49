import { type Call, startHttpProxy } from '../support/http-proxy.ts'

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
export const startFlakyProxy = (target: string, meddle: Meddle) =>
  startHttpProxy(target, async (_request, response, call, pass) => {
    const answer = await pass()
    const given = await answer.json()
    const changed = answer.ok ? meddle(call, given) : given
    if (changed === 'lost') return response.destroy()
    if (isPage(changed)) {
      const length = changed.page.length + (changed.isCut ? 100 : 0)
      response.writeHead(changed.status, { 'content-length': length })
      return response.write(changed.page, () =>
        changed.isCut ? response.destroy() : response.end(),
      )
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    return response.end(JSON.stringify(changed))
  })

function isPage(answer: unknown): answer is Page {
  return typeof answer === 'object' && answer !== null && 'page' in answer
}
