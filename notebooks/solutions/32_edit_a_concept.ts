/** Solutions to the exercises of `32_edit_a_concept`, under the names that `check` knows. */
export const solutions = {
  "an edit of concepts": (concepts: number[], base: number[], v: number, set: number): number[] =>
    concepts.map((concept, i) => (i === v ? set : concept) * base[i]),

  "a sign test": (nearer: number, pairs: number): number => {
    const binomial = (k: number): number => k === 0 ? 1 : binomial(k - 1) * (pairs - k + 1) / k;
    const most = Math.max(nearer, pairs - nearer);
    let tail = 0;
    for (let k = most; k <= pairs; k++) tail += binomial(k) / 2 ** pairs;
    return Math.min(1, 2 * tail);
  },

  "nearer by how much": (before: number, after: number): number => 100 * (after - before) / before,
};
