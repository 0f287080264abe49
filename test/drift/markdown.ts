/** As much of Markdown as the checks of the documents need. */

export interface Block {
  language: string
  text: string
}

const fence = /^(```+|~~~+)[ \t]*(\S*)[^\n]*\n(.*?)^\1[ \t]*$/gms

export function blocks(markdown: string): Block[] {
  return [...markdown.matchAll(fence)].map(([, , language = '', text = '']) => ({ language, text }))
}

/** Where links point, code left out. */
export function links(markdown: string): string[] {
  const prose = markdown.replace(fence, '').replace(/`[^`\n]*`/g, '')
  const inline = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)]
  const defined = [...prose.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)]
  const html = [...prose.matchAll(/<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)="([^"]+)"/g)]
  return [...inline, ...defined, ...html].map(([, target = '']) => target)
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchors(markdown: string): Set<string> {
  const taken = new Map<string, number>()
  const headings = markdown.replace(fence, '').matchAll(/^#{1,6}[ \t]+(.+?)[ \t]*#*$/gm)
  return new Set(
    [...headings].map(([, heading = '']) => {
      const slug = heading
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '')
        .replaceAll(' ', '-')
      const times = taken.get(slug) ?? 0
      taken.set(slug, times + 1)
      return times === 0 ? slug : `${slug}-${times}`
    }),
  )
}

/** The rows of every table whose head has these columns, cells trimmed. */
export function tableRows(markdown: string, ...head: string[]): string[][] {
  const rows: string[][] = []
  let isWanted = false
  for (const line of markdown.split('\n')) {
    if (!line.startsWith('|')) {
      isWanted = false
      continue
    }
    const cells = line
      .replace(/^\||\|\s*$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim())
    if (isWanted && !/^:?-+:?$/.test(cells[0] ?? '')) rows.push(cells)
    if (head.every((name, index) => cells[index] === name)) isWanted = true
  }
  return rows
}

export function unquoted(cell: string): string {
  return cell.replace(/^`([^`]*)`$/, '$1')
}
