/** Solutions to the exercises of `22_codes_in_use`, under the names that `check` knows. */
export const solutions = {
  "precision among the first": (labels: number[], scores: number[], k: number): number => {
    const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]).slice(0, k);
    return order.filter((i) => labels[i] === 1).length / k;
  },

  "patients lost in steps": (left: number[]): number[] =>
    left.slice(1).map((now, i) => 100 * (left[i] - now) / left[i]),

  "macro and micro": (right: number[], asked: number[]): { macro: number; micro: number } => {
    const sum = (values: number[]) => values.reduce((total, one) => total + one, 0);
    return { macro: sum(right.map((one, i) => one / asked[i])) / right.length, micro: sum(right) / sum(asked) };
  },
};
