import type { Command, Option } from 'commander'

/** Checks command lines in documents against the commands that there are. */
export interface Commands {
  program: Command
  /** `scripts` of package.json. */
  scripts: Record<string, string>
}

/** What is wrong with a block of shell, line by line. Lines that call something else are not ours. */
export function shellFaults(shell: string, commands: Commands): string[] {
  return shell
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .flatMap((line) => simpleCommands(line))
    .flatMap((words) =>
      commandFaults(words, commands).map((fault) => `${words.join(' ')}: ${fault}`),
    )
}

/** The simple commands of a line, as words; quotes are taken off, comments and prompts left out. */
export function simpleCommands(line: string): string[][] {
  const found: string[][] = [[]]
  for (const [token] of line.replace(/^\s*\$ /, '').matchAll(tokens)) {
    if (token.startsWith('#')) break
    if (/^(?:\|\|?|&&?|;;?|\(|\)|\$\()$/.test(token)) found.push([])
    else found.at(-1)?.push(token.replaceAll(/'([^']*)'|"((?:[^"\\]|\\.)*)"/g, '$1$2'))
  }
  return found.filter((words) => words.length > 0)
}

const tokens =
  /\$\(|[|&;()]{1,2}|(?:'[^']*'|"(?:[^"\\]|\\.)*"|<[a-z0-9-]+>|[^\s'"|&;()#<]|(?<=\S)#)+|[#<]\S*/g

function commandFaults(words: string[], { program, scripts }: Commands): string[] {
  const [first = '', second, ...rest] = withoutPrefix(words)
  if (first === 'understudy') return callFaults(program, [second ?? '', ...rest].filter(Boolean))
  if (first === 'node' && second === 'src/cli/main.ts') return callFaults(program, rest)
  if (first !== 'npm' || second === undefined) return []
  if (second === 'start' || second === 'test') return scriptFaults(second, rest, program, scripts)
  if (second !== 'run') return []
  const [name = '', ...more] = rest.filter((word) => word !== '--silent')
  return scriptFaults(name, more, program, scripts)
}

const prefix = /^(?:[A-Z_][A-Z0-9_]*=.*|npx|sudo|exec|time)$/

function withoutPrefix(words: string[]): string[] {
  const isCompose = words[0] === 'docker' && words[1] === 'compose'
  if (isCompose && /^(?:exec|run)$/.test(words[2] ?? '')) {
    const service = words.findIndex((word, index) => index > 2 && !word.startsWith('-'))
    return words.slice(service + 1)
  }
  const start = words.findIndex((word) => !prefix.test(word))
  return start < 0 ? [] : words.slice(start)
}

function scriptFaults(
  name: string,
  args: string[],
  program: Command,
  scripts: Record<string, string>,
): string[] {
  const script = scripts[name]
  if (script === undefined) return [`package.json has no script ${name}`]
  const [, call] = /^node src\/cli\/main\.ts (.+)$/.exec(script) ?? []
  const given = args[0] === '--' ? args.slice(1) : args
  return call === undefined ? [] : callFaults(program, [...call.split(' '), ...given])
}

/** Follows the words as commander would: subcommands, options with their values, operands. */
function callFaults(program: Command, words: string[]): string[] {
  let command = program
  const options: Option[] = []
  const operands: string[] = []
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? ''
    if (word === '--help' || word === '-h') return []
    if (word === '--') {
      operands.push(...words.slice(index + 1))
      break
    }
    if (word.startsWith('-') && word !== '-') {
      const [flag, value] = word.split(/=(.*)/s)
      const option = command.options.find(({ long, short }) => flag === long || flag === short)
      if (!option) return [`${command.name()} has no ${flag}`]
      options.push(option)
      if (option.required && value === undefined) index += 1
      continue
    }
    const sub = operands.length === 0 && command.commands.find((each) => each.name() === word)
    if (sub) command = sub
    else operands.push(word)
  }
  return usageFaults(command, options, operands)
}

function usageFaults(command: Command, options: Option[], operands: string[]): string[] {
  if (command.commands.length > 0) {
    const [wrong] = operands
    if (wrong !== undefined) return [`${command.name()} has no command ${wrong}`]
    return options.length > 0 || !command.parent ? [] : [`${command.name()} needs a command`]
  }
  const missing = command.options.filter((option) => option.mandatory && !options.includes(option))
  const needed = command.registeredArguments.filter(({ required }) => required)
  const isOpen = command.registeredArguments.some(({ variadic }) => variadic)
  return [
    ...missing.map(({ long }) => `${long} is missing`),
    ...needed.slice(operands.length).map((argument) => `<${argument.name()}> is missing`),
    ...(isOpen ? [] : operands.slice(command.registeredArguments.length)).map(
      (operand) => `${operand} is one argument too many`,
    ),
  ]
}
