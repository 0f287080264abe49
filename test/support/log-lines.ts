/** What a replica logs, line by line, as pino writes it. */
export class LogLines {
  readonly level: string
  readonly texts: string[] = []

  constructor(level: string) {
    this.level = level
  }

  write(text: string): void {
    this.texts.push(text)
  }

  get lines(): LogLine[] {
    return this.texts.map((text) => JSON.parse(text))
  }
}

export interface LogLine {
  msg: string
  level: string
  name: string
  replica_id: string
  term?: number
  request_id?: string
  job_id?: string
  [field: string]: unknown
}
