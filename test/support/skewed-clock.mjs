// Loaded before a broker (`--import`): its host's clock is wrong by SKEW_MS. What is monotonic stays so, as on a real machine. For tests alone.
const skew = Number(process.env.SKEW_MS)
const { now } = Date
const Real = Date
globalThis.Date = class Skewed extends Real {
  constructor(...args) {
    if (args.length === 0) super(now() + skew)
    else super(...args)
  }
  static now() {
    return now() + skew
  }
}
