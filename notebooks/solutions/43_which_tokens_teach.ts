/** Solutions to the exercises of `43_which_tokens_teach`, under the names that `check` knows. */
export const solutions = {
  "the highest excess": (own: number[], reference: number[], keep: number): number[] =>
    [...own.keys()].sort((a, b) => (own[b] - reference[b]) - (own[a] - reference[a])).slice(0, keep)
      .sort((a, b) => a - b),

  "the mean of what counts": (loss: number[], mask: number[]): number =>
    loss.reduce((sum, value, i) => sum + value * mask[i], 0) / mask.reduce((sum, one) => sum + one, 0),

  "the largest rate that works": (rates: number[], final: number[], needed: number): number =>
    Math.max(0, ...rates.filter((_, i) => final[i] >= needed)),
};
