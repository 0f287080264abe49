/** Variables of a replica: a busy machine may stall a process for a while, and that ends no term. One that freezes is
 *  replaced soon enough all the same: before an executor fences itself. */
export const patience = {
  UNDERSTUDY_TRUST_WINDOW_MS: '8000',
  UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '9000',
}
