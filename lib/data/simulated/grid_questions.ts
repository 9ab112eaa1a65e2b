/**
 * Simulated images with questions about them: what a tiny vision-language model is trained on and asked.
 *
 * An "image" is a grid of 8 x 8 cells with 16 numbers each. In each quadrant lies one object of 2 x 2 cells; its shape and
 * colour are written into its cells, everything else is noise. A question names a shape and asks for the object's colour,
 * which has nothing to do with where it is, for the half of the image that it is in, which has, or for its twin: the shape of
 * the one other object of the same colour, as CLEVR asks (Johnson et al., CVPR 2017, arXiv:1612.06890). The first two need
 * one look at the image; the twin needs two, since where to look next is only known after the first. So it is known which of
 * the 64 cells an answer needs, and a reduction can be held against it.
 *
 * Made for the claims of Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025,
 * arXiv:2505.18227, section 4.1, which that paper argues without a test.
 *
 * @module
 */
import { random } from "../../random.ts";

/** Number of shapes, and number of colours. */
const KINDS = 6;
const GRID = 8;
const CELLS = GRID * GRID;
/** Numbers in a cell: one per shape, one per colour, and four that are noise alone. */
const CHANNELS = 2 * KINDS + 4;
const OBJECTS = 4;
/** Cells along one side of an object. */
const SIDE = 2;

/** Words of the questions and answers; a word's index is its token. */
const WORDS = [
  "<start>",
  ...["disc", "square", "triangle", "cross", "ring", "star"],
  ...["colour?", "half?", "twin?"],
  ...["red", "green", "blue", "yellow", "violet", "grey"],
  ...["upper", "lower"],
] as const;

/** Options of the simulation. */
export interface GridQuestionsOptions {
  /** Number of images. */
  readonly images: number;
  /** Where the random numbers start; the same seed gives the same images. */
  readonly seed: number;
  /** Standard deviation of the noise in every number. Default: 0.2. */
  readonly noise?: number;
  /** Share of cells that are clutter. Default: 0.2. */
  readonly clutterRate?: number;
  /** Standard deviation of what is added to a clutter cell. Default: 0.5. */
  readonly clutterNoise?: number;
}

/** Images, and for each of them all twelve questions: four objects, three kinds of question. */
export interface GridQuestions {
  readonly images: number;
  /** Rows and columns of cells: 8 and 8. */
  readonly grid: readonly [number, number];
  /** Numbers in a cell: 16. */
  readonly channels: number;
  /** Cells, row by row: [images, 64, 16]. */
  readonly features: Float32Array;
  /** Questions to an image: 12. */
  readonly questions: number;
  /** Tokens of a question: 3, namely start, the shape, what is asked. */
  readonly questionLength: number;
  /** [images, 12, 3], indices into `words`. */
  readonly text: Int32Array;
  /** [images, 12], indices into `words`. */
  readonly answer: Int32Array;
  /** What each question asks, [images, 12]: 0 the colour, 1 the half, 2 the twin. */
  readonly kind: Uint8Array;
  /** Cells that each answer needs, [images, 12, 8]: the object's four, and its twin's four, or -1 where it is not asked for. */
  readonly needed: Int32Array;
  /** Which words an image shows, [images, words]: 1 for the shapes and colours of its objects. */
  readonly shown: Uint8Array;
  readonly words: readonly string[];
  readonly seed: number;
}

/**
 * Draws images and writes all their questions down. Shapes of an image differ from one another; two of them have one
 * colour, two another. So guessing one of what is there answers half of the first two kinds, and a third of the third.
 *
 * @throws {RangeError} Where the number of images, a noise or the share of clutter makes no sense.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { text, answer, words } = gridQuestions({ images: 2, seed: 1 });
 * assert.deepEqual([...text.subarray(0, 3)].map((word) => words[word]), ["<start>", "ring", "colour?"]);
 * assert.equal(words[answer[0]], "red");
 * ```
 */
export function gridQuestions(options: GridQuestionsOptions): GridQuestions {
  const { images, seed, noise = 0.2, clutterRate = 0.2, clutterNoise = 0.5 } = options;
  if (!Number.isInteger(images) || images < 1) {
    throw new RangeError(`images is a whole number from 1, but it is ${images}; ask for one image at least`);
  }
  for (const [name, value] of Object.entries({ noise, clutterNoise })) {
    if (!(value >= 0 && value < Infinity)) throw new RangeError(`${name} is a number from 0, but it is ${value}`);
  }
  if (!(clutterRate >= 0 && clutterRate <= 1)) {
    throw new RangeError(`clutterRate must lie in [0, 1], but it is ${clutterRate}; for no clutter, pass 0`);
  }
  const rng = random(seed);
  const questions = OBJECTS * 3, questionLength = 3, ownCells = SIDE * SIDE;
  const features = new Float32Array(images * CELLS * CHANNELS);
  const text = new Int32Array(images * questions * questionLength);
  const answer = new Int32Array(images * questions);
  const kind = new Uint8Array(images * questions);
  const needed = new Int32Array(images * questions * 2 * ownCells).fill(-1);
  const shown = new Uint8Array(images * WORDS.length);
  const word = (name: typeof WORDS[number]) => WORDS.indexOf(name);

  for (let image = 0; image < images; image++) {
    const cells = features.subarray(image * CELLS * CHANNELS, (image + 1) * CELLS * CHANNELS);
    const shapes = rng.permutation(KINDS), colours = rng.permutation(KINDS), pairs = rng.permutation(OBJECTS);
    const objects = Array.from({ length: OBJECTS }, (_, quadrant) => {
      const half = GRID / 2, room = half - SIDE + 1, pair = pairs.indexOf(quadrant);
      const top = Math.floor(quadrant / 2) * half + rng.integer(room), left = quadrant % 2 * half + rng.integer(room);
      const own = Array.from({ length: ownCells }, (_, i) => (top + Math.floor(i / SIDE)) * GRID + left + i % SIDE);
      const lower = top >= half;
      return { shape: shapes[quadrant], colour: colours[pair >> 1], twin: pairs[pair ^ 1], lower, own };
    });
    for (const [index, { shape, colour, twin, lower, own }] of objects.entries()) {
      for (const cell of own) {
        cells[cell * CHANNELS + shape] += 1.5;
        cells[cell * CHANNELS + KINDS + colour] += 1.5;
      }
      shown[image * WORDS.length + word("disc") + shape] = 1;
      shown[image * WORDS.length + word("red") + colour] = 1;
      const asked = [
        [word("colour?"), word("red") + colour],
        [word("half?"), word(lower ? "lower" : "upper")],
        [word("twin?"), word("disc") + objects[twin].shape],
      ];
      for (const [type, [what, said]] of asked.entries()) {
        const question = image * questions + index * asked.length + type;
        text.set([word("<start>"), word("disc") + shape, what], question * questionLength);
        answer[question] = said;
        kind[question] = type;
        needed.set(type === 2 ? [...own, ...objects[twin].own] : own, question * 2 * ownCells);
      }
    }
    for (let cell = 0; cell < CELLS; cell++) {
      const clutter = rng.bernoulli(clutterRate) ? clutterNoise : 0;
      for (let c = cell * CHANNELS; c < (cell + 1) * CHANNELS; c++) {
        cells[c] += noise * rng.normal() + clutter * rng.normal();
      }
    }
  }
  return {
    images,
    grid: [GRID, GRID],
    channels: CHANNELS,
    features,
    questions,
    questionLength,
    text,
    answer,
    kind,
    needed,
    shown,
    words: WORDS,
    seed,
  };
}
