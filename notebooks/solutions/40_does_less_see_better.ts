/** Solutions to the exercises of `40_does_less_see_better`, under the names that `check` knows. */
export const solutions = {
  "the word of a card": (low: number, high: number): string =>
    low > 0 ? "supported" : high < 0 ? "refuted" : "undecided",

  "the mean row": (cells: number[], columns: number): number =>
    cells.reduce((sum, cell) => sum + Math.floor(cell / columns), 0) / cells.length,

  "the believed row": (place: number, columns: number): number => Math.floor(place / columns),
};
