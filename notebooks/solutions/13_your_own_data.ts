/** Solutions to the exercises of `13_your_own_data`, under the names that `check` knows. */
export const solutions = {
  "images needed": (p: number, q: number): number => Math.ceil(1.96 ** 2 * (p * (1 - p) + q * (1 - q)) / (p - q) ** 2),

  "patches of an image": (side: number, patch: number): number => {
    if (side % patch) throw new RangeError(`patches of ${patch} do not divide ${side} pixels; choose another size`);
    return (side / patch) ** 2;
  },

  "a pixel normalised twice": (pixel: number, mean: number, std: number): number => (pixel / 255 - mean) / std,
};
