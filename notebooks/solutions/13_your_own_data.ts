/** Solutions to the exercises of `13_your_own_data`, under the names that `check` knows. */
export const solutions = {
  "images needed": (p: number, q: number): number => Math.ceil(1.96 ** 2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2),
};
