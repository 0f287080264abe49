import { readdirSync, readFileSync } from 'node:fs'

/** What a runbook has somebody do: its blocks of shell and SQL, each with what it prints. In comments, which
 *  readers do not see, stands what has to have happened before (`stage:`), and why a block cannot be run here
 *  (`not run:`). */
export interface Block {
  line: number
  language: 'sh' | 'sql'
  text: string
  /** What the block without a language that follows shows; undefined: nothing is printed. */
  shown: string | undefined
  /** In this order, before it. */
  stages: string[]
  notRun: string | undefined
}

const folder = new URL('../../runbooks/', import.meta.url)

export const runbookFiles = readdirSync(folder)
  .filter((file) => file.endsWith('.md') && file !== 'README.md')
  .sort()

export function readRunbook(file: string): string {
  return readFileSync(new URL(file, folder), 'utf8')
}

/** Throws where a block is neither a command, nor what one prints. */
export function parseRunbook(markdown: string): Block[] {
  const found: Block[] = []
  let stages: string[] = []
  let notRun: string | undefined
  let isShown = false
  for (const { line, language, text, comment } of parts(markdown)) {
    if (comment !== undefined) {
      const [, word, what = ''] = /^(stage|not run): (.+)$/.exec(comment) ?? []
      if (word === undefined) throw new Error(`line ${line}: what does this comment want?`)
      if (word === 'stage') stages.push(what)
      else notRun = what
      isShown = false
    } else if (language === 'sh' || language === 'sql') {
      found.push({ line, language, text: text.trim(), shown: undefined, stages, notRun })
      stages = []
      notRun = undefined
      isShown = true
    } else {
      const command = found.at(-1)
      if (language !== '' || !isShown || !command) {
        throw new Error(`line ${line}: a block that no command above it prints`)
      }
      command.shown = text.trimEnd()
      isShown = false
    }
  }
  if (stages.length > 0 || notRun !== undefined) throw new Error('a comment without its block')
  return found
}

interface Part {
  line: number
  language: string
  text: string
  comment?: string
}

function parts(markdown: string): Part[] {
  const either = /^<!-- ([^\n]+) -->$|^```(\S*)\n(.*?)^```$/gms
  return [...markdown.matchAll(either)].map(
    ({ 1: comment, 2: language = '', 3: text = '', index }) => ({
      line: markdown.slice(0, index).split('\n').length,
      language,
      text,
      ...(comment === undefined ? {} : { comment }),
    }),
  )
}
