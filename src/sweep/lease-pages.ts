import { beforeAllLeases, type LeaseKey } from '../sql/leases.ts'

/** Where a sweep over leases goes on: rows that cannot be written must not be all that it ever finds. */
export class LeasePages {
  readonly size = 500
  #after = beforeAllLeases

  get after(): LeaseKey {
    return this.#after
  }

  /** Of a page, so many were tried. True: it was the last one, and the next is the first again. */
  turn(page: LeaseKey[], tried: number): boolean {
    const isLast = tried === page.length && page.length < this.size
    this.#after = isLast ? beforeAllLeases : (page[tried - 1] ?? this.#after)
    return isLast
  }
}
