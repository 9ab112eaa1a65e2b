/** Solutions to the exercises of `20_a_code_is_text_and_graph`, under the names that `check` knows. */
export const solutions = {
  "TF-IDF of a word": (inText: number, textsWithIt: number, texts: number): number =>
    inText * (Math.log((1 + texts) / (1 + textsWithIt)) + 1),

  "nodes around a code": (neighbours: number[][], start: number, hops: number): number[] => {
    const inside = new Set([start]);
    for (let hop = 0; hop < hops; hop++) for (const node of [...inside]) neighbours[node].forEach((n) => inside.add(n));
    return [...inside].sort((a, b) => a - b);
  },

  "shared neighbours": (a: number[], b: number[]): number => {
    const [x, y] = [new Set(a), new Set(b)], all = x.union(y).size;
    return all ? x.intersection(y).size / all : 0;
  },
};
