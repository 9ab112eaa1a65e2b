/** Solutions to the exercises of `12_your_own_method`, under the names that `check` knows. */
export const solutions = {
  "who may leave": (special: number, patches: number): number[] =>
    Array.from({ length: Math.floor(patches / 2) }, (_, pair) => special + 2 * pair),

  "the Pareto front": (points: [number, number][]): boolean[] =>
    points.map(([cost, value]) => !points.some(([c, v]) => c <= cost && v >= value && (c < cost || v > value))),

  "tokens left behind each block": (tokens: number, r: number, blocks: number, special: number): number[] => {
    let left = tokens;
    return Array.from({ length: blocks }, () => left -= Math.min(r, Math.floor((left - special) / 2)));
  },
};
