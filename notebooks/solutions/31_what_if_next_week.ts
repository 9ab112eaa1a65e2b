/** Solutions to the exercises of `31_what_if_next_week`, under the names that `check` knows. */
export const solutions = {
  "the temporal concept": (from: number[], to: number[]): number[] =>
    from.map((value, v) => value === 0 ? 1 : to[v] / value),

  "a conformal half width": (errors: number[], level: number): number => {
    const rank = Math.ceil((errors.length + 1) * level);
    return rank > errors.length ? Infinity : errors.toSorted((a, b) => a - b)[rank - 1];
  },

  "a chain of concepts": (state: number, concepts: number[]): number[] => concepts.map((concept) => state *= concept),
};
