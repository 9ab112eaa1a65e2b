/**
 * The exercises of all notebooks: which calls a solution must get right, and a hint where it does not.
 * Solutions are in `solutions/`, one file per notebook; a test runs every check with them.
 *
 * @module
 */
import { exercise } from "../lib/plot/mod.ts";

export { check } from "../lib/plot/mod.ts";

exercise({
  name: "the merged token",
  cases: [
    { args: [[1, 3], 1, [3, 5], 1], expect: [2, 4], hint: "two single tokens: the middle between them" },
    {
      args: [[0, 0], 3, [4, 8], 1],
      expect: [1, 2],
      hint: "the first stands for three patches, so it counts three times",
    },
    { args: [[2], 2, [2], 5], expect: [2], hint: "equal tokens stay as they are, whatever their sizes" },
  ],
});

exercise({
  name: "EViT's fused token",
  cases: [
    { args: [[[1, 10], [3, 30]], [0.5, 0.5]], expect: [2, 20], hint: "equal attention: the plain mean" },
    {
      args: [[[1, 0], [5, 8]], [0.1, 0.3]],
      expect: [4, 6],
      hint: "divide by the summed attention, or the fused token is shorter than a token",
    },
    { args: [[[7]], [0.01]], expect: [7], hint: "one patch alone is itself, however little it is attended to" },
  ],
});

exercise({
  name: "tokens left with ToMe",
  cases: [
    { args: [50, 8, 4], expect: 18, hint: "nothing limits it here: 8 go in each block" },
    { args: [197, 16, 12], expect: 11, hint: "follow it block by block: near the end fewer than 16 can go" },
    { args: [5, 100, 1], expect: 3, hint: "four unprotected tokens are two pairs at most" },
    { args: [577, 25, 24], expect: 8, hint: "half of an odd number of tokens is rounded down" },
  ],
});
