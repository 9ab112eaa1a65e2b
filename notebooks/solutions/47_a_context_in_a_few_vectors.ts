/** Solutions to the exercises of `47_a_context_in_a_few_vectors`, under the names that `check` knows. */
export const solutions = {
  "what a question may look at": (context: number, gists: number, questions: number, question: number): number[] => [
    ...new Array<number>(context).fill(0),
    ...new Array<number>(gists).fill(1),
    ...Array.from({ length: questions }, (_, i) => Number(i === question)),
  ],

  "averages of neighbours": (keys: number[], groups: number): number[] => {
    const each = keys.length / groups;
    return Array.from(
      { length: groups },
      (_, group) => keys.slice(group * each, (group + 1) * each).reduce((sum, one) => sum + one, 0) / each,
    );
  },

  "does a mask leak?": (looks: number[][], context: number[], gists: number[], question: number): boolean => {
    const seen = new Set<number>(), open = [question];
    while (open.length) {
      const at = open.pop()!;
      if (seen.has(at) || gists.includes(at)) continue;
      seen.add(at);
      if (context.includes(at)) return true;
      open.push(...looks[at]);
    }
    return false;
  },
};
