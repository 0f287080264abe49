import { execFileSync } from 'node:child_process'
import { findTool } from '../../support/tools.ts'

/** The environment of a process that believes that it is so much later (`+600s`, `-600s`); its monotonic clock
 *  is left alone. */
export function clockAt(offset: string): Record<string, string> {
  const faketime = findTool('faketime')
  const preload = execFileSync(faketime, ['-m', '-f', offset, 'printenv', 'LD_PRELOAD'], {
    encoding: 'utf8',
  })
  return { LD_PRELOAD: preload.trim(), FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: '1' }
}
