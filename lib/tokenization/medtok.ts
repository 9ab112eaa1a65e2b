/**
 * MedTok: a medical code's description and subgraph become four short lists of tokens of one codebook.
 *
 * Su, Messica, Huang, Johnson, Fesser, Gao, Sahneh, Zitnik, "Multimodal Medical Code Tokenizer", ICML 2025,
 * arXiv:2502.04397, sections 3.1-3.3. Checked against the authors' code with its losses and gradients (tests/golden,
 * `medtok.quantizer_forward`). Where paper and code differ, `config.ts` has a setting for it.
 *
 * @module
 */
import {
  attentionLayer,
  embedding,
  embeddingLayer,
  linear,
  linearLayer,
  normLayer,
  xavierUniform,
  zeros,
} from "../nn/mod.ts";
import type { Described, LinearParameters } from "../nn/mod.ts";
import { foldIn, randomMask, tf, tidy } from "../tensor/mod.ts";
import { quantize, type Quantized, type Slot, slotRegions } from "./codebook.ts";
import type { MedTokConfig } from "./config.ts";
import { slotsOf } from "./config.ts";
import { crossAttend, type CrossAttentionLayerParameters, type ModalityTokens } from "./cross_attention.ts";
import { encodeGraphs, meanOfNodes } from "./graph_encoder.ts";
import { infoNCE, klAlignment, sharedLoss, specificLoss } from "./losses.ts";

/** Parameters of MedTok's quantiser: everything behind the two encoders. */
export interface QuantizerParameters {
  readonly textProjector: LinearParameters;
  readonly graphProjector: LinearParameters;
  readonly crossAttention: readonly CrossAttentionLayerParameters[];
  readonly codebook: { readonly weight: tf.Tensor2D };
}

/** All of MedTok's trained parameters. The text encoder in front of it is frozen and not among them. */
export interface MedTokParameters extends QuantizerParameters {
  /** A vector for each node of the knowledge graph. */
  readonly nodes: { readonly weight: tf.Tensor2D };
  readonly gcn: readonly [LinearParameters, LinearParameters];
  /** From the text encoder's states to the width of a codeword. */
  readonly textMapped: LinearParameters;
}

/**
 * Describes the parameters of a MedTok: 9,771,648 at the defaults of `repo`. Codebook and nodes start from a standard
 * normal, linear layers as PyTorch's, graph convolutions as PyTorch Geometric's.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { countParameters } from "tessera/nn/mod.ts";
 * import { medtokConfig } from "tessera/tokenization/mod.ts";
 * assert.equal(countParameters(medtokLayers(medtokConfig("repo"))), 9_771_648);
 * ```
 */
export function medtokLayers(config: MedTokConfig) {
  const { N, d, textDim, graphIn, graphHidden, nodeRows, xLayers } = config;
  const convolution = (inputs: number, outputs: number) =>
    linearLayer(inputs, outputs, { weightFrom: xavierUniform(), biasFrom: zeros });
  return {
    nodes: embeddingLayer(nodeRows, graphIn),
    gcn: [convolution(graphIn, graphHidden), convolution(graphHidden, d)],
    textMapped: linearLayer(textDim, d),
    textProjector: linearLayer(d, d),
    graphProjector: linearLayer(d, d),
    crossAttention: Array.from({ length: xLayers }, () => ({ attn: attentionLayer(d), norm: normLayer(d) })),
    codebook: embeddingLayer(N, d),
  };
}

/** What the names of {@link medtokLayers} become once they have numbers. */
export type MedTokWeights = Described<ReturnType<typeof medtokLayers>>;

/** A batch of codes as tensors. `batchOf` makes it. */
export interface MedTokBatch {
  /** [batch, length, textDim]: states of the text encoder, the first for the whole description. */
  readonly text: tf.Tensor3D;
  /** [batch, length]: 1, or 0 for padding. */
  readonly textMask: tf.Tensor2D;
  /** int32, [batch, nodes]: rows of the table of nodes. */
  readonly nodes: tf.Tensor2D;
  /** [batch, nodes]: 1, or 0 for padding. A code without a graph has one node, "no graph". */
  readonly nodeMask: tf.Tensor2D;
  /** [batch, nodes]: which nodes the graph's vector is the mean of; none where there is no graph. */
  readonly pooled: tf.Tensor2D;
  /** [batch, nodes, nodes]: normalised, target by source. */
  readonly adjacency: tf.Tensor3D;
  /** The same without the edges that the augmented view drops; only for training. */
  readonly augmentedAdjacency?: tf.Tensor3D | undefined;
  /** int32, [batch]: equal numbers where the subgraphs are equal. */
  readonly same?: tf.Tensor1D | undefined;
}

/** A pooled vector per modality, both [batch, d]. */
export interface Features {
  readonly text: tf.Tensor2D;
  readonly graph: tf.Tensor2D;
}

/** What the encoders give the quantiser. */
export interface Encoded {
  /** The first text position and the mean node. */
  readonly features: Features;
  readonly text: ModalityTokens;
  readonly graph: ModalityTokens;
  /** Features of the augmented view; only in training. */
  readonly augmented?: Features | undefined;
}

/** What becomes of a batch in the quantiser. */
export interface MedTokOutput {
  /** Before quantisation, [batch, d] each. */
  readonly embeddings: Partial<Record<Slot, tf.Tensor2D>>;
  readonly slots: Partial<Record<Slot, Quantized>>;
  /** Specific slots of the augmented view. */
  readonly augmented?: Partial<Record<"textSpecific" | "graphSpecific", Quantized>> | undefined;
}

/** The parts of the loss, each already weighted: their sum is `total`. */
export interface MedTokLosses {
  readonly total: tf.Scalar;
  /** Codebook losses of all slots. */
  readonly codebook: tf.Scalar;
  /** Commitments, times β_c. */
  readonly commitment: tf.Scalar;
  /** InfoNCE between the shared vectors, both directions. */
  readonly shared: tf.Scalar;
  /** Minus 2 β times the alignment. */
  readonly alignment: tf.Scalar;
  /** InfoNCE between two views of the specific vectors, both modalities. */
  readonly specific: tf.Scalar;
  /** λ times the overlap of specific and shared vectors, both modalities. */
  readonly orthogonality: tf.Scalar;
  /** KL alignment, times its weight. */
  readonly kl: tf.Scalar;
}

/**
 * Both encoders' outputs. With a key, dropout is on, and where the batch has an augmented graph there is a second view.
 *
 * @example
 * ```ts
 * import { random } from "tessera/random.ts";
 * import { initialise } from "tessera/nn/mod.ts";
 * import { batchOf, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * import assert from "node:assert/strict";
 * const world = plantedWorld({ seed: 0, concepts: 4 });
 * const config = medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2 });
 * const parameters = initialise(medtokLayers(config), random(0)) as MedTokParameters;
 * const batch = batchOf(world.codes.slice(0, 3), wordVectors({ dim: config.textDim }), config);
 * assert.deepEqual(encodeModalities(batch, parameters, config).features.graph.shape, [3, 64]);
 * ```
 */
export function encodeModalities(
  batch: MedTokBatch,
  parameters: Pick<MedTokParameters, "nodes" | "gcn" | "textMapped">,
  config: MedTokConfig,
  key?: tf.Tensor1D,
): Encoded {
  return tidy(() => {
    const textOf = (states: tf.Tensor3D, number: number) => {
      const { weight, bias } = parameters.textMapped;
      if (!key || config.dropout === 0) return linear(states, parameters.textMapped);
      // dropout; what stays grows by the weights instead of by itself, of which there are many more
      const kept = tf.mul<tf.Tensor3D>(states, randomMask(foldIn(key, number), states.shape, config.dropout));
      return linear(kept, { weight: weight.mul<tf.Tensor2D>(1 / (1 - config.dropout)), ...(bias ? { bias } : {}) });
    };
    const start = embedding(batch.nodes, parameters.nodes) as tf.Tensor3D;
    const graphOf = (adjacency: tf.Tensor3D) => encodeGraphs(start, adjacency, parameters.gcn);
    const featuresOf = (text: tf.Tensor3D, graph: tf.Tensor3D): Features => (
      { text: firstOf(text), graph: meanOfNodes(graph, batch.pooled) }
    );
    const [text, graph] = [textOf(batch.text, 0), graphOf(batch.adjacency)];
    return {
      features: featuresOf(text, graph),
      text: { x: text, mask: batch.textMask },
      graph: { x: graph, mask: batch.nodeMask },
      // of the second view only the whole text's state is used: a 512th of what the authors' code computes
      augmented: key && batch.augmentedAdjacency
        ? featuresOf(textOf(batch.text.slice([0, 0, 0], [-1, 1, -1]), 1), graphOf(batch.augmentedAdjacency))
        : undefined,
    };
  });
}

function firstOf(x: tf.Tensor3D): tf.Tensor2D {
  return x.slice([0, 0, 0], [-1, 1, -1]).squeeze<tf.Tensor2D>([1]);
}

/**
 * The four embeddings of each code and their tokens.
 *
 * @param encoded What the encoders give.
 * @param key Of the cross-attention's dropout; absent: none.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { initialise } from "tessera/nn/mod.ts";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { medtokConfig } from "tessera/tokenization/mod.ts";
 * const config = medtokConfig("lite", { nodeRows: 2 });
 * const parameters = initialise(medtokLayers(config), random(0)) as MedTokParameters;
 * const tokens = { x: tf.ones<tf.Rank.R3>([1, 2, 64]), mask: tf.ones<tf.Rank.R2>([1, 2]) };
 * const features = { text: tf.ones<tf.Rank.R2>([1, 64]), graph: tf.ones<tf.Rank.R2>([1, 64]) };
 * const { slots } = quantizeModalities({ features, text: tokens, graph: tokens }, parameters, config);
 * assert.deepEqual(slots.graphSpecific?.tokens.shape, [1, 5]);
 * assert.ok(slots.graphSpecific!.tokens.min().arraySync() as number >= 240);
 * ```
 */
export function quantizeModalities(
  { features, text, graph, augmented }: Encoded,
  parameters: QuantizerParameters,
  config: MedTokConfig,
  key?: tf.Tensor1D,
): MedTokOutput {
  return tidy(() => {
    const regions = slotRegions(config.N, config.sharedRows);
    const choose = (slot: Slot, embedding: tf.Tensor2D) =>
      quantize(embedding, parameters.codebook.weight, {
        region: regions[slot],
        K: config.K,
        commitOn: config.commitOn,
        detachWeights: config.detachWeights,
      });
    const project = {
      textSpecific: ({ text }: Features) => linear(text, parameters.textProjector),
      graphSpecific: ({ graph }: Features) => linear(graph, parameters.graphProjector),
    };
    const specific = slotsOf(config).filter((slot) => slot === "textSpecific" || slot === "graphSpecific");
    const embeddings: Partial<Record<Slot, tf.Tensor2D>> = {};
    for (const slot of specific) embeddings[slot] = project[slot](features);
    if (config.modality === "both") {
      const shared = crossAttend(text, graph, parameters.crossAttention, {
        heads: config.heads,
        reading: config.crossAttention,
        dropout: config.dropout,
        key: key && foldIn(key, 2),
      });
      embeddings.textShared = shared.text;
      embeddings.graphShared = shared.graph;
    }
    return {
      embeddings,
      slots: Object.fromEntries(slotsOf(config).map((slot) => [slot, choose(slot, embeddings[slot]!)])),
      augmented: augmented &&
        Object.fromEntries(specific.map((slot) => [slot, choose(slot, project[slot](augmented))])),
    };
  });
}

/**
 * The loss of a batch: codebook and commitment of every slot, the shared and the specific packing loss, KL alignment. The
 * augmented view's own codebook losses are left out, as in the code.
 *
 * @throws {TypeError} Where the output has no augmented view.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { initialise } from "tessera/nn/mod.ts";
 * import { randomKey, tf } from "tessera/tensor/mod.ts";
 * import { medtokConfig } from "tessera/tokenization/mod.ts";
 * const config = medtokConfig("lite", { nodeRows: 2, modality: "text" });
 * const parameters = initialise(medtokLayers(config), random(0)) as MedTokParameters;
 * const tokens = { x: tf.ones<tf.Rank.R3>([2, 2, 64]), mask: tf.ones<tf.Rank.R2>([2, 2]) };
 * const features = { text: tf.ones<tf.Rank.R2>([2, 64]), graph: tf.ones<tf.Rank.R2>([2, 64]) };
 * const encoded = { features, text: tokens, graph: tokens, augmented: features };
 * const losses = medtokLosses(encoded, quantizeModalities(encoded, parameters, config), parameters, config);
 * assert.ok(Math.abs(losses.specific.arraySync() - Math.log(2)) < 1e-5); // two equal codes
 * ```
 */
export function medtokLosses(
  encoded: Encoded,
  { embeddings, slots, augmented }: MedTokOutput,
  parameters: QuantizerParameters,
  config: MedTokConfig,
  same?: tf.Tensor1D,
): MedTokLosses {
  if (!augmented) {
    throw new TypeError("the loss compares two views, but the batch has one; encode it with a key and a second graph");
  }
  return tidy(() => {
    const all = slotsOf(config).map((slot) => slots[slot]!);
    const sumOf = (terms: readonly tf.Scalar[]): tf.Scalar => terms.length ? tf.addN([...terms]) : tf.scalar(0);
    const codebook = sumOf(all.map(({ codebookLoss }) => codebookLoss));
    const commitment = sumOf(all.map(({ commitment }) => commitment)).mul<tf.Scalar>(config.betaCommit);
    const batch = all[0].out.shape[0];
    const options = {
      temperature: config.tau,
      group: Math.min(config.nceGroup, batch),
      same: config.nceMaskDuplicates ? same : undefined,
    };
    let [shared, alignment, specific, orthogonality, kl] = Array.from({ length: 5 }, () => tf.scalar(0));
    if (config.modality !== "both") {
      const slot = config.modality === "text" ? "textSpecific" : "graphSpecific";
      specific = infoNCE(slots[slot]!.out, augmented[slot]!.out, {
        ...options,
        same: config.modality === "graph" ? options.same : undefined,
      }).mul(config.specificWeight);
    } else {
      const { textSpecific, graphSpecific, textShared, graphShared } = slots as Record<Slot, Quantized>;
      const { textSpecific: textAgain, graphSpecific: graphAgain } = augmented as Record<Slot, Quantized>;
      if (config.sharedWeight !== 0) {
        const aligned = config.alignOn === "features"
          ? [encoded.features.text, encoded.features.graph] as const
          : [embeddings.textShared!, embeddings.graphShared!] as const;
        const parts = sharedLoss(textShared.out, graphShared.out, aligned, options);
        shared = tf.add(parts.textToGraph, parts.graphToText).mul(config.sharedWeight);
        alignment = parts.alignment.mul(-2 * config.beta * config.sharedWeight);
      }
      if (config.specificWeight !== 0) {
        const ofText = specificLoss(textSpecific.out, textAgain.out, graphShared.out, textShared.out, {
          ...options,
          same: undefined, // texts differ where subgraphs are equal
        });
        const ofGraph = specificLoss(graphSpecific.out, graphAgain.out, textShared.out, graphShared.out, options);
        specific = tf.add(ofText.views, ofGraph.views).mul(config.specificWeight);
        orthogonality = tf.add(ofText.overlap, ofGraph.overlap).mul(config.lambda * config.specificWeight);
      }
      if (config.klWeight !== 0) {
        kl = klAlignment(
          embeddings.textShared!,
          embeddings.graphShared!,
          parameters.codebook.weight,
          slotRegions(config.N, config.sharedRows).textShared,
          config.klTemperature,
        ).mul(config.klWeight);
      }
    }
    const parts = { codebook, commitment, shared, alignment, specific, orthogonality, kl };
    return { total: sumOf(Object.values(parts)), ...parts };
  });
}
