/**
 * What is known from a context alone, and a decoder that answers from fewer vectors than the context has.
 *
 * Six pairs of a name and a thing are shown, then all six names are asked, each by itself. What a question may look at is a
 * mode: all pairs; a few learned "gist" tokens behind the pairs, which saw them; averages of the pairs' keys and values; or the
 * first pairs alone. One set of weights learns all modes together. (The task of the specification, y = a x + b modulo 29 from
 * six examples, was tried modulo 11 and not learnt: after 1,500 steps a fifth was right with everything in sight, which is to
 * guess among what had not been seen.)
 *
 * Mu et al., "Learning to Compress Prompts with Gist Tokens", NeurIPS 2023, arXiv:2304.08467, section 3: a gist is a mask.
 *
 * @module
 */
import {
  type Described,
  embedding,
  embeddingLayer,
  initialise,
  Llama,
  type LlamaConfig,
  normal,
  trainable,
} from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "tessera/train/mod.ts";

/** Names that there are, and things; pairs shown, all of which are asked for. */
export const NAMES = 12, THINGS = 12, SHOTS = 6, ASKED = SHOTS;
const FIRST_GIST = NAMES + THINGS;
/** Tokens of the pairs; most gist tokens. */
export const SHOWN = 2 * SHOTS, MOST = 4;

/** What a question may look at, by how many vectors that are. */
export const modes = {
  full: { vectors: SHOWN },
  "gist 4": { vectors: 4 },
  "gist 2": { vectors: 2 },
  "gist 1": { vectors: 1 },
  "pooled 4": { vectors: 4 },
  "pooled 2": { vectors: 2 },
  "pooled 1": { vectors: 1 },
  "first 4": { vectors: 4 },
  "first 2": { vectors: 2 },
} as const;
/** Name of a mode that is trained. */
export type Mode = keyof typeof modes;
/** A mode that is asked: gist tokens that saw nothing are no mode of training. */
export type Asking = Mode | "blind gist 4" | "blind gist 2" | "blind gist 1";

/** Its sizes. Names come first among the tokens, then things, then gist tokens. */
export const config: LlamaConfig = {
  vocabulary: FIRST_GIST + MOST,
  width: 64,
  depth: 3,
  heads: 4,
  mlpWidth: 172,
  context: SHOWN + MOST + ASKED,
};

/** A Llama whose tokens know, at the start, which one stood before them. */
export interface Solver {
  readonly model: Llama;
  readonly before: Described<ReturnType<typeof embeddingLayer>>;
}

/** A new solver. */
export function newSolver(seed: number): Solver {
  const start = Llama.create(
    config,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.3 : shape[1] ** -0.5),
  );
  return {
    model: new Llama(config, trainable(start.weights)),
    before: trainable(initialise(embeddingLayer(config.vocabulary, config.width, normal(0.3)), random(seed, "before"))),
  };
}

/** Contexts as rows: pairs, gist tokens, questions; and the answers. */
export interface Tasks {
  /** int32 [tasks, 12 + gists + 6] */
  readonly tokens: number[][];
  /** [tasks][6] */
  readonly answers: number[][];
}

/** Draws contexts and questions. */
export function tasksOf(count: number, draw: Random, gists: number): Tasks {
  const made = Array.from({ length: count }, () => {
    const names = [...draw.permutation(NAMES)].slice(0, SHOTS);
    const things = names.map(() => NAMES + draw.integer(THINGS));
    const order = [...draw.permutation(SHOTS)];
    return {
      row: [
        ...names.flatMap((name, i) => [name, things[i]]),
        ...Array.from({ length: gists }, (_, i) => FIRST_GIST + i),
        ...order.map((i) => names[i]),
      ],
      answers: order.map((i) => things[i]),
    };
  });
  return { tokens: made.map(({ row }) => row), answers: made.map(({ answers }) => answers) };
}

/** How many gist tokens an asking has in its rows. */
export function gistsOf(asking: Asking): number {
  return asking.includes("gist") ? Number(asking.at(-1)) : 0;
}

/**
 * Who looks at whom: [tokens][tokens + pooled], 1 where the row's token may look at the column's; averages of the pairs
 * stand behind all tokens.
 */
export function maskOf(asking: Asking): number[][] {
  const gists = gistsOf(asking), tokens = SHOWN + gists + ASKED;
  const pools = asking.startsWith("pooled") ? Number(asking.at(-1)) : 0;
  const first = asking.startsWith("first") ? Number(asking.at(-1)) : asking === "full" ? SHOWN : 0;
  return Array.from({ length: tokens }, (_, row) =>
    Array.from({ length: tokens + pools }, (_, column) => {
      const isGist = column >= SHOWN && column < SHOWN + gists;
      if (column >= tokens) return Number(row >= SHOWN + gists); // averages are for questions alone
      if (row < SHOWN) return Number(column <= row);
      if (row < SHOWN + gists) {
        return Number(column <= row && (isGist || !asking.startsWith("blind")));
      }
      return Number(column === row || isGist || column < first);
    }));
}

/** Which shown tokens a question can be told of, by any way through the mask in as many blocks as there are. */
export function reaches(mask: readonly (readonly number[])[], question: number): number[] {
  let seen = new Set([question]);
  for (let block = 0; block < config.depth; block++) {
    seen = new Set(
      [...seen].flatMap((row) => row < mask.length ? mask[row].flatMap((one, at) => one ? [at] : []) : [row]),
    );
  }
  return [...seen].filter((at) => at < SHOWN).sort((a, b) => a - b);
}

/** Logits of all tokens of rows of a mode: [tasks, tokens, vocabulary]. */
export function forward({ model, before }: Solver, tokens: tf.Tensor2D, asking: Asking): tf.Tensor3D {
  const gists = gistsOf(asking), count = tokens.shape[1];
  const pools = asking.startsWith("pooled") ? Number(asking.at(-1)) : 0;
  return tidy(() => {
    // questions all stand right behind what came before: none knows which other stood before it
    const place = Array.from({ length: count }, (_, at) => Math.min(at, SHOWN + gists));
    const positions = tf.tensor2d([place]);
    const mask = tf.tensor2d(maskOf(asking)).reshape<tf.Tensor4D>([1, 1, count, count + pools]);
    const previous = tf.concat(
      [tokens.slice([0, 0], [-1, 1]), tokens.slice([0, 0], [-1, count - 1])],
      1,
    ) as tf.Tensor2D;
    const isSecond = tf.tensor3d([place.map((_, at) => [Number(at < SHOWN && at % 2 === 1)])]); // a thing knows its name
    const known = embedding(previous, before).mul<tf.Tensor3D>(isSecond) as tf.Tensor3D;
    let x = model.embed(tokens).add<tf.Tensor3D>(known);
    for (let layer = 0; layer < config.depth; layer++) {
      x = model.block(layer, x, positions, ({ keys, values }) => {
        const withPools = (of: tf.Tensor4D) => {
          if (!pools) return of;
          const [batch, heads, , channels] = of.shape;
          const means = of.slice([0, 0, 0, 0], [-1, -1, SHOWN, -1])
            .reshape([batch, heads, pools, SHOWN / pools, channels]).mean<tf.Tensor4D>(3);
          return tf.concat([of, means], 2) as tf.Tensor4D;
        };
        return { keys: withPools(keys), values: withPools(values), mask };
      }).x;
    }
    return model.head(x);
  });
}

/** Trains a solver on all modes together. */
export function train(
  { seed, steps, batch = 64, signal, onStep }: {
    seed: number;
    steps: number;
    batch?: number;
    signal?: AbortSignal;
    onStep?: (step: number, loss: () => number) => void;
  },
): Solver {
  const solver = newSolver(seed), names = Object.keys(modes) as Mode[];
  const surprise = (logits: tf.Tensor3D, of: tf.Tensor2D) =>
    tf.neg(tf.logSoftmax(logits).mul(tf.oneHot(of, config.vocabulary)).sum(2)).mean<tf.Scalar>();
  const step = trainStep(
    (answers: tf.Tensor2D, ...rows: tf.Tensor2D[]) => {
      const losses = names.map((mode, i) => {
        const logits = forward(solver, rows[i], mode), count = rows[i].shape[1];
        const asked = surprise(logits.slice([0, count - ASKED, 0], [-1, -1, -1]) as tf.Tensor3D, answers);
        return asked;
      });
      return losses.reduce((sum, loss) => sum.add(loss)).div<tf.Scalar>(losses.length);
    },
    adamW({
      learningRate: cosineRate({ peak: 2e-3, updates: steps, warmup: Math.min(100, Math.floor(steps / 4)) }),
      decays: onlyMatrices,
    }),
    { weights: solver.model.weights, before: solver.before },
    { clip: 1 },
  );
  const draw = random(seed, "tasks");
  for (let at = 0; at < steps; at++) {
    signal?.throwIfAborted();
    const tasks = tasksOf(batch, draw, 0);
    const rows = names.map((mode) => {
      const gists = gistsOf(mode);
      return tf.tensor2d(
        tasks.tokens.map((row) => [
          ...row.slice(0, SHOWN),
          ...Array.from({ length: gists }, (_, i) => FIRST_GIST + i),
          ...row.slice(SHOWN),
        ]),
        undefined,
        "int32",
      );
    });
    const answers = tf.tensor2d(tasks.answers, undefined, "int32");
    const done = step(answers, ...rows);
    onStep?.(at, () => done.loss.dataSync()[0]);
    tf.dispose([answers, rows, done.loss, done.gradientNorm!]);
  }
  step.dispose();
  return solver;
}

/** Share of questions that are answered right. */
export function accuracy(solver: Solver, asking: Asking, { tasks, seed }: { tasks: number; seed: number }): number {
  const { tokens, answers } = tasksOf(tasks, random(seed, "test tasks"), gistsOf(asking));
  return tidy(() => {
    const logits = forward(solver, tf.tensor2d(tokens, undefined, "int32"), asking);
    const said = logits.slice([0, tokens[0].length - ASKED, 0], [-1, -1, FIRST_GIST]).argMax(2);
    return tf.equal(said, tf.tensor2d(answers, undefined, "int32")).cast("float32").mean().dataSync()[0];
  });
}
