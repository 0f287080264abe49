import type { Explanation, Reason } from '../../src/contract/explain.ts'
import type { Api } from './api.ts'

/** Why a job is where it is. */
export async function explainJob(api: Api, jobId: string): Promise<Explanation> {
  return (await api.must(200, api.get(`/v1/jobs/${jobId}/explain`))).body
}

export async function reasonsOf(api: Api, jobId: string): Promise<Reason[]> {
  return (await explainJob(api, jobId)).reasons
}

export async function codesOf(api: Api, jobId: string): Promise<string[]> {
  return (await reasonsOf(api, jobId)).map(({ code }) => code)
}
