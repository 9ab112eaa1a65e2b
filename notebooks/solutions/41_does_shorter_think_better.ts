/** Solutions to the exercises of `41_does_shorter_think_better`, under the names that `check` knows. */
export const solutions = {
  "right after so many tokens": (error: number, tokens: number): number => (1 - error) ** tokens,

  "running sums": (digits: number[], modulus: number): number[] =>
    digits.map((_, i) => digits.slice(0, i + 1).reduce((sum, digit) => (sum + digit) % modulus, 0)),

  "places kept by importance": (importance: number[], count: number): number[] =>
    importance.map((_, place) => place).sort((a, b) => importance[b] - importance[a] || a - b).slice(0, count)
      .sort((a, b) => a - b),
};
