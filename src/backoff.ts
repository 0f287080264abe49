/** `ms` ± `share` of it, so that many processes started together drift apart. */
export function jittered(ms: number, share = 0.1, random: () => number = Math.random): number {
  return ms * (1 - share + 2 * share * random())
}

export interface BackoffLimits {
  baseMs: number
  factor: number
  capMs: number
}

/** Full jitter: anywhere between nothing and the exponential step of this retry (0 is the first),
 *  which is capped. Spreads a herd best of the known forms (AWS, "Exponential Backoff And Jitter"). */
export function fullJitter(
  retry: number,
  limits: BackoffLimits,
  random: () => number = Math.random,
): number {
  return random() * Math.min(limits.capMs, limits.baseMs * limits.factor ** retry)
}
