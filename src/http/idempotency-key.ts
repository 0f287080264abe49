import { invalid } from '../errors.ts'

/** The key may stand in the header or in the body; where it stands in both, it must be the same. Throws
 *  invalid_request. */
export function withKey<T extends { idempotency_key?: string | undefined }>(
  body: T,
  header: string | undefined,
): T {
  if (header === undefined) return body
  if (body.idempotency_key !== undefined && body.idempotency_key !== header) {
    throw invalid('idempotency_key', 'differs from the header Idempotency-Key')
  }
  return { ...body, idempotency_key: header }
}
