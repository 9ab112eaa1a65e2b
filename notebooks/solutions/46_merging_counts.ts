/** Solutions to the exercises of `46_merging_counts`, under the names that `check` knows. */
export const solutions = {
  "red mass": (share: number[], size: number[]): number => share.reduce((sum, one, i) => sum + one * size[i], 0),

  "count without sizes": (share: number[], cells: number): number =>
    cells * share.reduce((sum, one) => sum + one, 0) / share.length,

  "package sizes": (scores: number[], sizes: number[], keep: number): number[] => {
    const kept = scores.map((score, i) => ({ score, i })).sort((a, b) => b.score - a.score || a.i - b.i).slice(0, keep)
      .map(({ i }) => i).sort((a, b) => a - b);
    const rest = sizes.filter((_, i) => !kept.includes(i)).reduce((sum, size) => sum + size, 0);
    return [...kept.map((i) => sizes[i]), rest];
  },
};
