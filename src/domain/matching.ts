/** Which executors may be given which jobs. Claims and `explain` both ask here, so that what is told is what is done. */

/** What an executor registered for. */
export interface Offered {
  readonly queues: Pick<ReadonlySet<string>, 'has'>
  readonly labels: Readonly<Record<string, string>>
}

/** What a job asks for, as its class has it. */
export interface Asked {
  readonly queue: string
  readonly requires: Readonly<Record<string, string>>
}

export function servesQueue({ queues }: Offered, { queue }: Asked): boolean {
  return queues.has(queue)
}

export function hasLabels({ labels }: Offered, requires: Asked['requires']): boolean {
  return Object.entries(requires).every(([name, value]) => labels[name] === value)
}

export function canServe(offered: Offered, asked: Asked): boolean {
  return servesQueue(offered, asked) && hasLabels(offered, asked.requires)
}

/** Of what is required, what none of these has; all of it, if each label is there and no one has them together. */
export function missingLabels(
  offers: readonly Offered[],
  requires: Asked['requires'],
): Record<string, string> {
  const missing = Object.entries(requires).filter(
    ([name, value]) => !offers.some((offered) => hasLabels(offered, { [name]: value })),
  )
  return missing.length > 0 ? Object.fromEntries(missing) : { ...requires }
}
