/** Solutions to the exercises of `01_what_is_a_token`, under the names that `check` knows. */
export const solutions = {
  "how many patches": (height: number, width: number, side: number): number =>
    Math.floor(height / side) * Math.floor(width / side),

  "the pair to merge next": (words: [string[], number][]): string[] => {
    const counts = new Map<string, { pair: string[]; count: number }>();
    for (const [pieces, times] of words) {
      for (let i = 0; i + 1 < pieces.length; i++) {
        const pair = [pieces[i], pieces[i + 1]];
        const seen = counts.get(pair.join("\t")) ?? { pair, count: 0 };
        counts.set(pair.join("\t"), { pair, count: seen.count + times });
      }
    }
    return [...counts.values()].reduce((best, next) => next.count > best.count ? next : best).pair;
  },

  "the share never seen": (training: string[], test: string[]): number => {
    const known = new Set(training);
    return test.length ? test.filter((token) => !known.has(token)).length / test.length : 0;
  },
};
