/** Solutions to the exercises of `90_compile`, under the names that `check` knows. */
export const solutions = {
  "traces that are made": (signatures: string[]): number => new Set(signatures).size,

  "calls until it has paid": (trace: number, eager: number, compiled: number): number =>
    compiled < eager ? Math.ceil(trace / (eager - compiled)) : Infinity,

  "draws inside a compiled function": (draws: number[], calls: number): number[] =>
    new Array<number>(calls).fill(draws[0]),
};
