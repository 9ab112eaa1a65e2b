/**
 * Training a MedTok, with every term of the loss and the health of the codebook in sight.
 *
 * Adam (0.9, 0.95), gradients clipped to norm 1, rows in a new order each epoch, the last incomplete batch left out, as in the
 * authors' code (Su et al., ICML 2025, arXiv:2502.04397).
 *
 * @module
 */
import { type Figure, figure, liveFigure } from "../plot/mod.ts";
import { random } from "../random.ts";
import { foldIn, randomKey, tf, tidy } from "../tensor/mod.ts";
import { adam, type Fit, fit, trainStep } from "../train/mod.ts";
import { batchOf } from "./batch.ts";
import type { MedTokConfig } from "./config.ts";
import { type CodebookHealth, codebookHealth } from "./health.ts";
import type { KnowledgeGraph } from "./knowledge_graph.ts";
import { encodeModalities, type MedTokBatch, medtokLosses, quantizeModalities } from "./medtok.ts";
import type { CodeInput } from "./open_codes.ts";
import type { DescriptionEncoder } from "./text_encoder.ts";
import { MedTok } from "./tokenizer.ts";

/** Options of {@link trainMedTok}. */
export interface TrainMedTokOptions {
  readonly config: MedTokConfig;
  readonly encoder: DescriptionEncoder;
  readonly graph?: KnowledgeGraph | undefined;
  /** Goes on with this one, whose training was stopped; else a new one is made from `config.seed`. */
  readonly tokenizer?: MedTok;
  /** Codes that the codebook's health is measured on after each epoch. Default: 1024. */
  readonly healthSample?: number;
  /** As of `fit`: a file for checkpoints, from which a stopped run goes on. */
  readonly checkpoint?: string | URL;
  /** Steps after which a checkpoint is written within an epoch, too. */
  readonly checkpointEvery?: number;
  readonly signal?: AbortSignal;
  /** Default: true. */
  readonly show?: boolean;
}

/** What {@link trainMedTok} returns. */
export interface TrainedMedTok {
  readonly tokenizer: MedTok;
  /** Steps, and each term of the loss at each step. */
  readonly run: Fit;
  /** Of the sample, at the end. */
  readonly health: CodebookHealth;
  /** Terms of the loss and used rows, epoch by epoch. */
  readonly figure: Figure;
  /** What went wrong, a sentence each: collapse is reported, not hidden. */
  readonly alarms: readonly string[];
}

/** Terms of the loss, in the order in which they are shown. */
const TERMS = ["codebook", "commitment", "shared", "alignment", "specific", "orthogonality", "kl"] as const;

/**
 * Trains a MedTok on codes. Steps are rounded up to whole epochs.
 *
 * Stopped, by the button or a signal, it can be called again with the same checkpoint and goes on to the same numbers.
 *
 * @throws {RangeError} Where there are fewer codes than a batch has.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * const { codes, graph } = plantedWorld({ concepts: 8 });
 * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2, batch: 16, steps: 2, N: 30 });
 * const { run, tokenizer } = await trainMedTok(codes, { config, encoder: wordVectors(), graph, show: false });
 * assert.ok(run.steps >= 2);
 * tokenizer.dispose();
 * ```
 */
export async function trainMedTok(codes: readonly CodeInput[], options: TrainMedTokOptions): Promise<TrainedMedTok> {
  const { config, encoder, graph, healthSample = 1024, show = true } = options;
  const perEpoch = Math.floor(codes.length / config.batch);
  if (perEpoch === 0) {
    throw new RangeError(
      `${codes.length} codes do not fill a batch of ${config.batch}; give more codes, or a smaller batch`,
    );
  }
  const tokenizer = options.tokenizer ?? MedTok.untrained({ config, encoder, graph });
  const { parameters } = tokenizer;
  const loss = (batch: MedTokBatch, key: tf.Tensor1D) => {
    const encoded = encodeModalities(batch, parameters, config, foldIn(key, 0));
    const output = quantizeModalities(encoded, parameters, config, foldIn(key, 1));
    const { total, ...terms } = medtokLosses(encoded, output, parameters, config, batch.same);
    return { loss: total, ...terms };
  };
  const optimizer = adam({ learningRate: config.lr, beta1: 0.9, beta2: 0.95 });
  const step = trainStep(loss, optimizer, parameters, { clip: config.clip });

  const sample = random(config.seed, "health").permutation(codes.length).slice(0, healthSample).map((i) => codes[i]);
  const shown: Shown = { epochs: [], terms: Object.fromEntries(TERMS.map((term) => [term, []])), used: [] };
  const live = show ? liveFigure() : undefined;
  const measure = async (): Promise<CodebookHealth> => {
    const { tokens, weights } = await tokenizer.encodeBatch(sample, { show: false });
    return codebookHealth(tokens, weights, config.N, config.K);
  };
  let order: { epoch: number; rows: number[] } = { epoch: -1, rows: [] };
  const run = await fit({
    step,
    data: {
      count: perEpoch * config.batch,
      batch: (examples, { epoch, random: draw, key }) => {
        // its own order of all codes, so that another few are left out in each epoch
        if (order.epoch !== epoch) {
          order = { epoch, rows: random(config.seed, `codes ${epoch}`).permutation(codes.length) };
        }
        const chosen = examples.map((i) => codes[order.rows[i]]);
        return [batchOf(chosen, encoder, config, { augment: draw.stream("edges") }), key.clone()] as [
          MedTokBatch,
          tf.Tensor1D,
        ];
      },
    },
    epochs: Math.ceil(config.steps / perEpoch),
    batch: config.batch,
    seed: config.seed,
    validate: async (epoch) => {
      const terms = termsOn(sample.slice(0, Math.min(config.nceGroup, sample.length)), loss, encoder, config);
      const { regions } = await measure();
      const used = Object.fromEntries(Object.entries(regions).map(([name, region]) => [`used ${name}`, region.used]));
      const perplexity = Object.fromEntries(
        Object.entries(regions).map(([name, region]) => [`perplexity ${name}`, region.perplexity]),
      );
      shown.epochs.push(epoch);
      for (const term of TERMS) shown.terms[term].push(terms[term]);
      shown.used.push(Object.fromEntries(Object.entries(regions).map(([name, { used, rows }]) => [name, used / rows])));
      live?.show(healthFigure(shown, config));
      return { ...terms, ...used, ...perplexity };
    },
    ...(options.checkpoint !== undefined ? { checkpoint: options.checkpoint } : {}),
    ...(options.checkpointEvery !== undefined ? { checkpointEvery: options.checkpointEvery } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
    show,
  });
  step.dispose();
  const health = await measure();
  const alarms = [...health.alarms, ...contrastAlarms(run, config)];
  const curve = healthFigure(shown, config);
  await live?.done(curve);
  if (show) { for (const alarm of alarms) console.warn(alarm); }
  return { tokenizer, run, health, figure: curve, alarms };
}

/** The terms of the loss on some codes, with one and the same draw each time. */
function termsOn(
  codes: readonly CodeInput[],
  loss: (batch: MedTokBatch, key: tf.Tensor1D) => Record<string, tf.Scalar>,
  encoder: DescriptionEncoder,
  config: MedTokConfig,
): Record<string, number> {
  return tidy(() => {
    const batch = batchOf(codes, encoder, config, { augment: random(config.seed, "health edges") });
    const terms = loss(batch, randomKey(config.seed, 0));
    return Object.fromEntries(Object.entries(terms).map(([name, term]) => [name, term.arraySync()]));
  });
}

/** InfoNCE of exactly ln B means that all vectors are one. */
function contrastAlarms({ history }: Fit, { batch, nceGroup, modality, sharedWeight }: MedTokConfig): string[] {
  const last = (history.shared ?? []).slice(-20);
  if (modality !== "both" || sharedWeight === 0 || last.length === 0) return [];
  const mean = last.reduce((sum, value) => sum + value, 0) / last.length / (2 * sharedWeight);
  const even = Math.log(Math.min(batch, nceGroup));
  return Math.abs(mean - even) < 0.01 * even
    ? [`the shared InfoNCE stands at ${mean.toFixed(3)}, the logarithm of its rows: all shared vectors are equal`]
    : [];
}

interface Shown {
  epochs: number[];
  terms: Record<string, number[]>;
  /** Share of used rows by region. */
  used: Record<string, number>[];
}

function healthFigure({ epochs, terms, used }: Shown, { N }: MedTokConfig): Figure {
  const line = (name: string, y: number[], axis: string, group: string) => (
    {
      type: "scatter",
      mode: "lines",
      name,
      x: epochs,
      y,
      yaxis: axis,
      legendgroup: group,
      legendgrouptitle: { text: group },
    }
  );
  const regions = Object.keys(used[0] ?? {});
  const lastUsed = regions.map((name) => `${name} ${Math.round(100 * used.at(-1)![name])} %`).join(", ");
  return figure(
    [
      ...Object.entries(terms).filter(([, values]) => values.some((value) => value !== 0))
        .map(([name, values]) => line(name, values, "y", "loss")),
      ...regions.map((name) => line(name, used.map((shares) => shares[name]), "y2", "rows used")),
    ],
    {
      title: { text: "Loss by term, and rows of the codebook in use" },
      xaxis: { title: { text: "epoch" }, anchor: "y2" },
      yaxis: { title: { text: "loss" }, domain: [0.45, 1] },
      yaxis2: { title: { text: "share of rows" }, domain: [0, 0.35], range: [0, 1.05] },
      width: 720,
      height: 480,
    },
    { alt: `Terms of the loss over ${epochs.length} epochs; of ${N} codewords in use at the end: ${lastUsed}.` },
  );
}
