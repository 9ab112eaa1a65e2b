/** Solutions to the exercises of `22_codes_in_use`, under the names that `check` knows. */
export const solutions = {
  "precision among the first": (labels: number[], scores: number[], k: number): number => {
    const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]).slice(0, k);
    return order.filter((i) => labels[i] === 1).length / k;
  },
};
