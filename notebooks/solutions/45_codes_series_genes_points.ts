/** Solutions to the exercises of `45_codes_series_genes_points`, under the names that `check` knows. */
export const solutions = {
  "merged events": (events: [number, number][]): [number, number, number][] =>
    [...Map.groupBy(events, ([code]) => code)].map(([code, own]) => [code, own.length, own.at(-1)![1]]),

  "bits per base": (nats: number[], bases: number[]): number =>
    nats.reduce((sum, one) => sum + one, 0) / Math.LN2 / bases.reduce((sum, one) => sum + one, 0),

  "farthest on a line": (numbers: number[], k: number): number[] => {
    const taken = [numbers[0]];
    while (taken.length < k) {
      const distance = numbers.map((x) => Math.min(...taken.map((other) => Math.abs(x - other))));
      taken.push(numbers[distance.indexOf(Math.max(...distance))]);
    }
    return taken;
  },
};
