/** Solutions to the exercises of `14_forget_the_cache`, under the names that `check` knows. */
export const solutions = {
  "largest gain of a batch": (weights: number, cache: number, batch: number, keepRate: number): number =>
    (weights + batch * cache) / (weights + keepRate * batch * cache),

  "sinks and recent tokens": (n: number, keep: number, sinks: number): number[] =>
    Array.from({ length: n }, (_, place) => place).filter((place) => place < sinks || place >= n - (keep - sinks)),

  "bytes of a cache": (tokens: number, layers: number, keyHeads: number, channels: number): number =>
    2 * 4 * tokens * layers * keyHeads * channels,
};
