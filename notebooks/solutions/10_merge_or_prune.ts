/** Solutions to the exercises of `10_merge_or_prune`, under the names that `check` knows. */
export const solutions = {
  "the merged token": (a: number[], sizeOfA: number, b: number[], sizeOfB: number): number[] =>
    a.map((value, channel) => (sizeOfA * value + sizeOfB * b[channel]) / (sizeOfA + sizeOfB)),

  "EViT's fused token": (rest: number[][], attention: number[]): number[] => {
    const total = attention.reduce((sum, weight) => sum + weight, 0);
    return rest[0].map((_, channel) => rest.reduce((sum, token, i) => sum + attention[i] * token[channel], 0) / total);
  },

  "tokens left with ToMe": (tokens: number, r: number, blocks: number): number => {
    for (let block = 0; block < blocks; block++) tokens -= Math.min(r, Math.floor((tokens - 1) / 2));
    return tokens;
  },
};
