/** Solutions to the exercises of `30_what_if_today`, under the names that `check` knows. */
export const solutions = {
  "abduction": (today: number, tomorrow: number, lawFactor: number): number => tomorrow / today - lawFactor,

  "error of the answers": (squared: number[][], deadly: number): number => {
    const last = squared.map((row) => row.at(-1)!);
    return 100 * Math.sqrt(last.reduce((sum, value) => sum + value, 0) / last.length) / deadly;
  },

  "the counterfactual volume": (today: number, chance: number, otherFactor: number): number =>
    today * (otherFactor + chance),
};
