/**
 * The exercises of all notebooks: which calls a solution must get right, and a hint where it does not.
 * Solutions are in `solutions/`, one file per notebook; a test runs every check with them.
 *
 * @module
 */
import { exercise } from "../lib/plot/mod.ts";

export { check } from "../lib/plot/mod.ts";

exercise({
  name: "how many patches",
  cases: [
    {
      args: [224, 224, 16],
      expect: 196,
      hint: "step 1: how many sides of 16 fit into a row of 224? As many rows there are",
    },
    { args: [224, 448, 32], expect: 98, hint: "step 2: rows from the height, columns from the width" },
    {
      args: [100, 50, 16],
      expect: 18,
      hint: "step 3: a rest too narrow for a patch is cut away: round down, each side by itself",
    },
    { args: [15, 300, 16], expect: 0, hint: "step 4: not one row fits" },
  ],
});

exercise({
  name: "the pair to merge next",
  cases: [
    { args: [[[["a", "b"], 1]]], expect: ["a", "b"], hint: "step 1: a pair is a piece and the piece behind it" },
    {
      args: [[[["a", "b"], 2], [["c", "d"], 3]]],
      expect: ["c", "d"],
      hint: "step 2: a word that stands there three times counts three times",
    },
    {
      args: [[[["a", "b"], 2], [["c", "d"], 3], [["e", "a", "b"], 2]]],
      expect: ["a", "b"],
      hint: "step 3: add up the same pair over all words: a Map from the pair to its count",
    },
    {
      args: [[[["lo", "w"], 5], [["n", "ew"], 5]]],
      expect: ["lo", "w"],
      hint: "step 4: of equally frequent pairs the one that was seen first",
    },
    {
      args: [[[["a", "bc"], 2], [["ab", "c"], 1], [["d", "e"], 2], [["ab", "c"], 2]]],
      expect: ["ab", "c"],
      hint: "step 5: a + bc and ab + c are two pairs, though both read abc: keep the border in the Map's key",
    },
  ],
});

exercise({
  name: "the share never seen",
  cases: [
    {
      args: [["x", "y"], ["x", "z"]],
      expect: 0.5,
      hint: "step 1: one of the two, z, is not among the training tokens",
    },
    { args: [["x"], ["z", "z", "z", "x"]], expect: 0.75, hint: "step 2: each occurrence counts, not each kind" },
    { args: [["x"], []], expect: 0, hint: "step 3: of nothing, nothing is unseen" },
  ],
});

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

exercise({
  name: "rank correlation",
  cases: [
    { args: [[1, 2, 3], [10, 20, 30]], expect: 1, hint: "the same order is 1, whatever the distances" },
    { args: [[1, 2, 3], [3, 2, 1]], expect: -1, hint: "the opposite order is -1" },
    {
      args: [[3, 1, 2, 9], [30, 10, 99, 50]],
      expect: 0.4,
      hint: "1 - 6 Σ d² / (n (n² - 1)), d = difference of the ranks",
    },
  ],
});

exercise({
  name: "corners protected",
  cases: [
    {
      args: [[1, 4, 3, 2], 2],
      expect: [5, 5, 5, 5],
      hint: "a 2 x 2 grid is all corners: each gets the largest score plus 1",
    },
    {
      args: [[0, 0.5, 0, 0.5, 1, 0.5, 0, 0.5, 0], 3],
      expect: [2, 0.5, 2, 0.5, 1, 0.5, 2, 0.5, 2],
      hint: "the first and the last of the first and of the last row; the others keep their scores",
    },
  ],
});

exercise({
  name: "who may leave",
  cases: [
    { args: [1, 4], expect: [1, 3], hint: "behind one special token the pairs are (1, 2) and (3, 4)" },
    { args: [1, 5], expect: [1, 3], hint: "the last of an odd number of patches has nobody on its right" },
    { args: [0, 2], expect: [0], hint: "without special tokens the first patch may leave" },
    { args: [2, 1], expect: [], hint: "one patch is no pair" },
  ],
});

exercise({
  name: "the Pareto front",
  cases: [
    {
      args: [[[1, 0.7], [2, 0.6], [3, 0.9]]],
      expect: [true, false, true],
      hint: "the second is dearer and worse than the first",
    },
    { args: [[[1, 0.5], [1, 0.5]]], expect: [true, true], hint: "equal points do not beat each other" },
    { args: [[[2, 0.8], [1, 0.8]]], expect: [false, true], hint: "as good and cheaper is better" },
  ],
});

exercise({
  name: "images needed",
  cases: [
    { args: [0.9, 0.8], expect: 97, hint: "0.09 + 0.16 times 3.8416, over 0.01, rounded up" },
    { args: [0.84, 0.85], expect: 10062, hint: "a tenth of the difference needs a hundred times the images" },
    { args: [0.5, 1], expect: 4, hint: "where q is 1 it adds no variance" },
  ],
});

exercise({
  name: "abduction",
  cases: [
    { args: [100, 103, 1.02], expect: 0.01, hint: "it was multiplied by 1.03, of which 1.02 was the law" },
    { args: [50, 40, 0.8], expect: 0, hint: "all of it was the law" },
    { args: [10, 9, 1], expect: -0.1, hint: "chance can take away, too" },
  ],
});

exercise({
  name: "error of the answers",
  cases: [
    {
      args: [[[9, 4], [1]], 100],
      expect: 100 * Math.sqrt(2.5) / 100,
      hint: "4 and 1 are the last ones: their mean is 2.5",
    },
    { args: [[[7, 7, 0], [3, 0]], 1150], expect: 0, hint: "what comes before the last does not count" },
    { args: [[[100]], 1000], expect: 1, hint: "an error of 10 in 1000 is 1 %" },
  ],
});

exercise({
  name: "the temporal concept",
  cases: [
    {
      args: [[5, 140], [10, 70]],
      expect: [2, 0.5],
      hint: "a ratio per variable: the later state over the earlier one",
    },
    { args: [[4], [4]], expect: [1], hint: "no change is 1" },
    { args: [[0, 2], [3, 3]], expect: [1, 1.5], hint: "from 0 no ratio leads anywhere: 1" },
  ],
});

exercise({
  name: "a conformal half width",
  cases: [
    { args: [[5, 1, 4, 2, 3, 9, 8, 7, 6], 0.9], expect: 9, hint: "rank 9 of 9, the smallest first; did you sort?" },
    { args: [[3, 1, 2], 0.5], expect: 2, hint: "rank ceil(4 x 0.5) = 2" },
    {
      args: [[1, 2], 0.9],
      expect: Infinity,
      hint: "two errors cannot promise 90 %: there is no rank 3 among them",
    },
  ],
});

exercise({
  name: "an edit of concepts",
  cases: [
    {
      args: [[1, 2, 3], [10, 10, 10], 1, 0.5],
      expect: [10, 5, 30],
      hint: "set one concept, leave the others, multiply",
    },
    { args: [[0.9], [100], 0, 1], expect: [100], hint: "a concept of 1 gives the base back" },
    { args: [[2, 2], [0, 7], 0, 5], expect: [0, 14], hint: "nothing times anything is nothing" },
  ],
});

exercise({
  name: "a sign test",
  tolerance: 1e-4,
  cases: [
    { args: [5, 5], expect: 0.0625, hint: "two tails: all five on one side, or all five on the other: 2 / 2^5" },
    { args: [5, 10], expect: 1, hint: "half of them: as even as can be" },
    { args: [9, 10], expect: 0.021484375, hint: "twice the probability of 9 or 10 of 10" },
    { args: [1, 10], expect: 0.021484375, hint: "the other tail counts as much" },
  ],
});

exercise({
  name: "traces that are made",
  cases: [
    { args: [["float32[8,4]", "float32[8,4]"]], expect: 1, hint: "the second call finds the trace of the first" },
    { args: [["float32[8,4]", "float32[5,4]", "float32[8,4]"]], expect: 2, hint: "the last batch is smaller" },
    {
      args: [["float32[2]", "int32[2]", "float32[2] 0.1", "float32[2] 0.2"]],
      expect: 4,
      hint: "plain values count too",
    },
    { args: [[]], expect: 0, hint: "nothing is traced before the first call" },
  ],
});

exercise({
  name: "TF-IDF of a word",
  cases: [
    { args: [1, 4, 4], expect: 1, hint: "a word of every text: the logarithm of 1, plus 1" },
    { args: [2, 0, 1], expect: 2 * (Math.log(2) + 1), hint: "twice in this text, so twice the weight" },
    { args: [1, 9, 99], expect: Math.log(10) + 1, hint: "both counts are raised by 1 before they are divided" },
    { args: [0, 3, 10], expect: 0, hint: "a word that is not in the text weighs nothing" },
  ],
});

exercise({
  name: "nodes around a code",
  cases: [
    { args: [[[1], [0, 2], [1]], 0, 1], expect: [0, 1], hint: "one step: the node and its neighbours" },
    { args: [[[1], [0, 2], [1]], 0, 2], expect: [0, 1, 2], hint: "two steps: the neighbours' neighbours too" },
    { args: [[[], [2], [1]], 0, 3], expect: [0], hint: "a node without edges stays alone" },
    { args: [[[1, 2], [0], [0]], 1, 0], expect: [1], hint: "no step at all" },
  ],
});

exercise({
  name: "soft weights",
  cases: [
    { args: [[1, 1]], expect: [0.5, 0.5], hint: "equal distances, equal weights" },
    { args: [[0, Math.log(3)]], expect: [0.75, 0.25], hint: "the nearer codeword weighs more: minus the distance" },
    { args: [[2]], expect: [1], hint: "one codeword takes everything" },
  ],
});

exercise({
  name: "the region of a token",
  cases: [
    { args: [0, 360], expect: "text", hint: "the first third" },
    { args: [120, 360], expect: "shared", hint: "rows count from 0: the first third ends at 119" },
    { args: [240, 360], expect: "graph", hint: "the last third" },
    { args: [6, 10], expect: "shared", hint: "a third is rounded down, and the middle gets what is left" },
  ],
});

exercise({
  name: "largest gain of a batch",
  cases: [
    { args: [16, 16, 1, 0.5], expect: 32 / 24, hint: "one text: (W + KV) / (W + rate x KV)" },
    {
      args: [16, 16, 8, 0.1],
      expect: 144 / 28.8,
      hint: "eight texts have eight caches, but the weights are read once",
    },
    { args: [10, 5, 3, 1], expect: 1, hint: "nothing forgotten, nothing gained" },
  ],
});

exercise({
  name: "sinks and recent tokens",
  cases: [
    { args: [10, 5, 2], expect: [0, 1, 7, 8, 9], hint: "two sinks, and the last three" },
    { args: [6, 6, 4], expect: [0, 1, 2, 3, 4, 5], hint: "there is room for all, and none comes twice" },
    { args: [3, 8, 4], expect: [0, 1, 2], hint: "a text shorter than the cache is kept whole" },
  ],
});

exercise({
  name: "precision among the first",
  cases: [
    {
      args: [[1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], 2],
      expect: 0.5,
      hint: "the two highest scores: one of them is positive",
    },
    {
      args: [[0, 1, 1], [0.1, 0.2, 0.9], 2],
      expect: 1,
      hint: "sort by score first, the highest in front, and take labels along",
    },
    { args: [[0, 1], [0.3, 0.2], 1], expect: 0, hint: "the one highest score is a negative" },
  ],
});

exercise({
  name: "merged events",
  cases: [
    {
      args: [[[5, 1], [9, 2], [5, 3]]],
      expect: [[5, 2, 3], [9, 1, 2]],
      hint: "the value is the last one, not the mean",
    },
    { args: [[[7, 0.5]]], expect: [[7, 1, 0.5]], hint: "a code that comes once has count 1" },
    {
      args: [[[2, 1], [1, 1], [1, 4], [2, 8], [1, 6]]],
      expect: [[2, 2, 8], [1, 3, 6]],
      hint: "in the order of first appearance, not of the codes",
    },
  ],
});

exercise({
  name: "bits per base",
  cases: [
    { args: [[Math.log(4), Math.log(4)], [1, 1]], expect: 2, hint: "four equally likely bases are two bits each" },
    { args: [[Math.log(64)], [3]], expect: 2, hint: "divide by the bases, not by the tokens" },
    {
      args: [[3 * Math.LN2, Math.LN2], [1, 3]],
      expect: 1,
      hint: "all nats over all bases, not the mean of each token's own ratio",
    },
  ],
});

exercise({
  name: "farthest on a line",
  cases: [
    { args: [[0, 1, 10, 5], 3], expect: [0, 10, 5], hint: "after 0 and 10, 5 is five away from both" },
    { args: [[5, 0, 10, 5], 2], expect: [5, 0], hint: "equal distances: the earlier one" },
    { args: [[3, 4], 1], expect: [3], hint: "it starts with the first" },
  ],
});

exercise({
  name: "right after so many tokens",
  cases: [
    { args: [0.1, 1], expect: 0.9, hint: "one token: right unless it is wrong" },
    { args: [0.1, 2], expect: 0.81, hint: "both tokens must be right: multiply" },
    { args: [0.5, 10], expect: 0.0009765625, hint: "each further token multiplies once more" },
    { args: [0.3, 0], expect: 1, hint: "a chain of no tokens has no mistakes in it" },
  ],
});

exercise({
  name: "running sums",
  cases: [
    { args: [[1, 2, 1], 5], expect: [1, 3, 4], hint: "one sum for each digit, all before it included" },
    { args: [[4, 3, 4], 5], expect: [4, 2, 1], hint: "the remainder after each step" },
    { args: [[], 5], expect: [], hint: "no digits, no sums" },
  ],
});

exercise({
  name: "places kept by importance",
  cases: [
    { args: [[0.1, 2, 0.3, 1], 2], expect: [1, 3], hint: "the two highest values" },
    { args: [[5, 1, 9], 2], expect: [0, 2], hint: "a chain stays in its order: sort the places again" },
    { args: [[1, 1, 1], 1], expect: [0], hint: "equal values: the earlier place first" },
  ],
});

exercise({
  name: "red mass",
  cases: [
    { args: [[1, 0, 0.5], [2, 3, 4]], expect: 4, hint: "each token counts as often as its size" },
    { args: [[1, 1], [1, 1]], expect: 2, hint: "two single red cells" },
  ],
});

exercise({
  name: "count without sizes",
  cases: [
    { args: [[1, 0], 64], expect: 32, hint: "half of the tokens are red, whatever they stand for" },
    { args: [[0, 0, 0, 1], 64], expect: 16, hint: "the mean over tokens, times the cells" },
  ],
});

exercise({
  name: "package sizes",
  cases: [
    {
      args: [[0.1, 0.9, 0.5, 0.2], [1, 1, 1, 1], 2],
      expect: [1, 1, 2],
      hint: "the two that go are one token of size 2",
    },
    {
      args: [[0.9, 0.1, 0.5], [3, 2, 1], 2],
      expect: [3, 1, 2],
      hint: "the kept ones keep their order and sizes, and the package comes last",
    },
    { args: [[0.5, 0.5, 0.5], [1, 2, 4], 1], expect: [1, 6], hint: "equal scores: the earlier token stays" },
  ],
});

exercise({
  name: "the word of a card",
  cases: [
    { args: [0.1, 0.3], expect: "supported", hint: "all of the interval lies above 0" },
    { args: [-0.3, -0.1], expect: "refuted", hint: "all of it lies below" },
    { args: [-0.1, 0.2], expect: "undecided", hint: "0 is inside" },
  ],
});

exercise({
  name: "the mean row",
  cases: [
    { args: [[0, 8], 8], expect: 0.5, hint: "rows 0 and 1" },
    { args: [[63], 8], expect: 7, hint: "the last cell of 64 is in row 7" },
    { args: [[0, 4, 8], 4], expect: 1, hint: "with four columns cell 4 begins row 1" },
  ],
});

exercise({
  name: "the believed row",
  cases: [
    { args: [0, 8], expect: 0, hint: "the first that is kept seems to be the first cell" },
    { args: [15, 8], expect: 1, hint: "sixteen tokens fill two rows, wherever they came from" },
    { args: [8, 4], expect: 2, hint: "a row has as many tokens as columns" },
  ],
});

exercise({
  name: "the highest excess",
  cases: [
    { args: [[3, 3, 0], [0, 3, 0], 1], expect: [0], hint: "3 - 0 is the highest difference" },
    {
      args: [[1, 5, 4], [1, 1, 1], 2],
      expect: [1, 2],
      hint: "sort by loss less reference, take the first, sort places",
    },
    { args: [[2, 6], [1, 6], 1], expect: [0], hint: "a high loss that the reference has too is no excess" },
  ],
});

exercise({
  name: "the mean of what counts",
  cases: [
    { args: [[1, 5, 3], [0, 1, 1]], expect: 4, hint: "divide by the number that count, not by all" },
    { args: [[2, 2], [1, 1]], expect: 2, hint: "with all of them it is the plain mean" },
    { args: [[9, 1], [0, 1]], expect: 1, hint: "what does not count is not in the sum" },
  ],
});

exercise({
  name: "the largest rate that works",
  cases: [
    { args: [[0.1, 0.2], [0.95, 0.5], 0.9], expect: 0.1, hint: "the second rate does not reach 0.9" },
    { args: [[0.1, 0.2, 0.4], [0.95, 0.2, 0.91], 0.9], expect: 0.4, hint: "a lower rate may fail: the largest counts" },
    { args: [[0.1], [0.3], 0.9], expect: 0, hint: "none works" },
  ],
});

exercise({
  name: "the reward of a choice",
  cases: [
    { args: [true, [1, 0, 0, 0], 1], expect: 0.75, hint: "a right answer earns 1, a quarter of the tokens costs 0.25" },
    { args: [false, [1, 1], 2], expect: -2, hint: "a wrong answer earns 0, and the tokens still cost" },
    { args: [true, [0, 0], 5], expect: 1, hint: "nothing kept costs nothing" },
  ],
});

exercise({
  name: "a step of REINFORCE",
  cases: [
    { args: [[0], [1], 1, 0], expect: [0.5], hint: "log odds 0 are a probability of one half; 1 - 0.5" },
    {
      args: [[0, 0], [1, 0], 0, 1],
      expect: [-0.5, 0.5],
      hint: "worse than the baseline: the draw becomes less likely",
    },
    { args: [[2, -1], [1, 1], 0.5, 0.5], expect: [0, 0], hint: "no better and no worse: nothing changes" },
  ],
});

exercise({
  name: "the mean of the others",
  cases: [
    { args: [[1, 0]], expect: [0, 1], hint: "of two draws each is the other's baseline" },
    { args: [[3, 0, 0]], expect: [0, 1.5, 1.5], hint: "the sum less the own reward, over one draw fewer" },
    { args: [[2, 2, 2, 2]], expect: [2, 2, 2, 2], hint: "equal rewards leave nothing to learn" },
  ],
});

exercise({
  name: "what a streaming cache holds",
  cases: [
    { args: [3, 4, 1], expect: [0, 1, 2], hint: "until the cache is full everything is held" },
    { args: [8, 4, 1], expect: [0, 5, 6, 7], hint: "one sink, and the last three" },
    { args: [6, 3, 0], expect: [3, 4, 5], hint: "without sinks it is a window" },
  ],
});

exercise({
  name: "the farthest that is looked at",
  cases: [
    { args: [[0, 5, 6, 7], 8, false], expect: 8, hint: "the token at place 8 looks back to place 0" },
    { args: [[0, 5, 6, 7], 8, true], expect: 4, hint: "four are in the cache: the new token stands at place 4 of it" },
    { args: [[5, 6, 7], 8, false], expect: 3, hint: "a window's farthest is as far as it is wide" },
  ],
});

exercise({
  name: "the even share of the first token",
  cases: [
    { args: [0, 1], expect: 1, hint: "the first token sees itself alone" },
    { args: [0, 2], expect: 0.75, hint: "1 and one half, the mean of both" },
    { args: [3, 4], expect: 0.25, hint: "the token at place 3 sees four tokens" },
  ],
});

exercise({
  name: "what a question may look at",
  cases: [
    { args: [2, 1, 2, 0], expect: [0, 0, 1, 1, 0], hint: "the gist token and itself, nothing else" },
    { args: [3, 2, 1, 0], expect: [0, 0, 0, 1, 1, 1], hint: "all gist tokens, none of the context" },
    { args: [1, 0, 3, 2], expect: [0, 0, 0, 1], hint: "without gist tokens itself alone" },
  ],
});

exercise({
  name: "averages of neighbours",
  cases: [
    { args: [[1, 3, 5, 7], 2], expect: [2, 6], hint: "the mean of the first half, then of the second" },
    { args: [[1, 3, 5, 7], 1], expect: [4], hint: "one group is the mean of all" },
    { args: [[1, 3], 2], expect: [1, 3], hint: "as many groups as keys: nothing changes" },
  ],
});

exercise({
  name: "does a mask leak?",
  cases: [
    { args: [[[], [0], [1]], [0], [1], 2], expect: false, hint: "token 2 reaches 0 through the gist token 1 alone" },
    { args: [[[], [0], [1, 0]], [0], [1], 2], expect: true, hint: "it looks at the context itself" },
    { args: [[[], [0], [0], [2]], [0], [1], 3], expect: true, hint: "through token 2, which is no gist token" },
  ],
});

exercise({
  name: "shared among the best",
  cases: [
    { args: [[3, 2, 1], [1, 2, 3], 1], expect: 0, hint: "the best by one is the worst by the other" },
    { args: [[3, 2, 1], [1, 2, 3], 2], expect: 0.5, hint: "token 1 is among both" },
    { args: [[1, 1, 0], [1, 1, 0], 2], expect: 1, hint: "of equal scores the earlier is better, in both" },
  ],
});

exercise({
  name: "tokens left behind each block",
  cases: [
    { args: [50, 8, 3, 1], expect: [42, 34, 26], hint: "eight fewer each time" },
    { args: [9, 8, 2, 1], expect: [5, 3], hint: "of eight patches at most four can go, then two" },
    { args: [2, 4, 2, 1], expect: [2, 2], hint: "half of one patch is none" },
  ],
});

exercise({
  name: "patches of an image",
  cases: [
    { args: [28, 4], expect: 49, hint: "seven in a row, seven rows" },
    { args: [224, 16], expect: 196, hint: "fourteen squared" },
    { args: [4, 4], expect: 1, hint: "the image is one patch" },
  ],
});

exercise({
  name: "a pixel normalised twice",
  cases: [
    { args: [0, 0.5, 0.25], expect: -2, hint: "black is as it should be" },
    { args: [1, 0, 1], expect: 1 / 255, hint: "white is divided by 255 once more" },
    { args: [255, 0.5, 0.5], expect: 1, hint: "a pixel from 0 to 255 would have been right" },
  ],
});

exercise({
  name: "bytes of a cache",
  cases: [
    { args: [1, 1, 1, 1], expect: 8, hint: "a key and a value of four bytes each" },
    { args: [100, 2, 4, 16], expect: 102400, hint: "2 x 4 bytes x tokens x layers x heads x channels" },
    { args: [0, 5, 4, 8], expect: 0, hint: "nothing read, nothing kept" },
  ],
});

exercise({
  name: "shared neighbours",
  cases: [
    { args: [[1, 2], [2, 3]], expect: 1 / 3, hint: "one of three" },
    { args: [[1], [1]], expect: 1, hint: "the same neighbours" },
    { args: [[], []], expect: 0, hint: "neither has any" },
  ],
});

exercise({
  name: "patients lost in steps",
  cases: [
    { args: [[100, 80, 60]], expect: [20, 25], hint: "the second step loses 20 of 80" },
    { args: [[50, 50]], expect: [0], hint: "nobody is lost" },
    { args: [[10]], expect: [], hint: "no step, no loss" },
  ],
});

exercise({
  name: "macro and micro",
  cases: [
    {
      args: [[1, 9], [1, 10]],
      expect: { macro: 0.95, micro: 10 / 11 },
      hint: "a rare label counts as much as a frequent one in the macro mean",
    },
    { args: [[1, 1], [2, 2]], expect: { macro: 0.5, micro: 0.5 }, hint: "alike where labels are equally frequent" },
    { args: [[0, 8], [2, 8]], expect: { macro: 0.5, micro: 0.8 }, hint: "the frequent label carries the micro share" },
  ],
});

exercise({
  name: "calls until it has paid",
  cases: [
    { args: [100, 5, 3], expect: 50, hint: "two milliseconds are saved in each call" },
    { args: [100, 3, 3], expect: Infinity, hint: "nothing is saved" },
    { args: [10, 4, 1], expect: 4, hint: "three calls save nine, too few" },
  ],
});

exercise({
  name: "draws inside a compiled function",
  cases: [
    { args: [[0.3, 0.7, 0.1], 3], expect: [0.3, 0.3, 0.3], hint: "the first draw is written into the graph" },
    { args: [[5], 1], expect: [5], hint: "the first call sees the first draw" },
    { args: [[1, 2], 0], expect: [], hint: "no call, nothing seen" },
  ],
});

exercise({
  name: "overlap of tokens",
  cases: [
    { args: [[1, 2, 3, 4], [3, 4, 5, 6]], expect: 0.5, hint: "two of four" },
    { args: [[7], [7, 8]], expect: 1, hint: "all of the first code's" },
    { args: [[1, 2], [3]], expect: 0, hint: "none" },
  ],
});

exercise({
  name: "the counterfactual volume",
  cases: [
    { args: [100, 0.01, 0.9], expect: 91, hint: "the law gives 0.9, chance adds 0.01" },
    { args: [50, 0, 1], expect: 50, hint: "nothing grows, and nothing happens by chance" },
    { args: [10, -0.1, 1.2], expect: 11, hint: "chance can take away, whatever the treatment" },
  ],
});

exercise({
  name: "a chain of concepts",
  cases: [
    { args: [2, [2, 0.5, 3]], expect: [4, 2, 6], hint: "each multiplies what the one before has left" },
    { args: [5, [1, 1]], expect: [5, 5], hint: "1 is no change" },
    { args: [1, []], expect: [], hint: "no concept, no step" },
  ],
});

exercise({
  name: "nearer by how much",
  cases: [
    { args: [2, 1], expect: -50, hint: "half of the distance is gone" },
    { args: [1, 1], expect: 0, hint: "no nearer" },
    { args: [4, 5], expect: 25, hint: "a quarter farther" },
  ],
});
