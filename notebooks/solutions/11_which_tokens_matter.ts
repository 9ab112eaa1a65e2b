/** Solutions to the exercises of `11_which_tokens_matter`, under the names that `check` knows. */
export const solutions = {
  "rank correlation": (a: number[], b: number[]): number => {
    const rank = (values: number[]) => values.map((value) => values.filter((other) => other < value).length);
    const [x, y] = [rank(a), rank(b)];
    const squares = x.reduce((sum, value, i) => sum + (value - y[i]) ** 2, 0);
    return 1 - 6 * squares / (a.length * (a.length ** 2 - 1));
  },

  "corners protected": (score: number[], side: number): number[] => {
    const corners = [0, side - 1, side * (side - 1), side * side - 1];
    return score.map((value, i) => corners.includes(i) ? Math.max(...score) + 1 : value);
  },

  "shared among the best": (a: number[], b: number[], k: number): number => {
    const best = (score: number[]) => score.map((_, i) => i).sort((i, j) => score[j] - score[i] || i - j).slice(0, k);
    const other = new Set(best(b));
    return best(a).filter((i) => other.has(i)).length / k;
  },
};
