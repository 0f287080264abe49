import {
  type EmbeddedOptions,
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/dev/embedded-postgres.ts'
import { findBuild, wantedVersion } from './postgres-versions.ts'

/** A server that a test has for itself, to stop or to set up as it likes: of the version that the suite runs on. */
export async function startOwnPostgres(
  options: Omit<EmbeddedOptions, 'build'>,
): Promise<EmbeddedPostgres> {
  return startEmbeddedPostgres({ ...options, build: await findBuild(wantedVersion()) })
}
