/**
 * A trained MedTok as a tokenizer: codes in, tokens out, the same ones whatever else is encoded.
 *
 * The authors' released code cannot do this step: its evaluation pass asks the quantiser for indices that it does not return,
 * shuffles, and drops the last batch. Here every block of codes has one fixed shape, the last one is filled up, and a code's
 * result depends on its description, its subgraph and the weights alone.
 *
 * @module
 */
import { readBytes, readSafetensors, sha256, writeAtomically, writeSafetensors } from "../data/mod.ts";
import { countParameters, initialise, loadParameters, saveParameters, trainable } from "../nn/mod.ts";
import { random } from "../random.ts";
import { progress, tick } from "../stop.ts";
import { compile, type Compiled, flatten, tf } from "../tensor/mod.ts";
import { batchOf, unknownNode } from "./batch.ts";
import { type Slot, slotRegions, unitRows } from "./codebook.ts";
import { type MedTokConfig, slotsOf } from "./config.ts";
import { egoGraph, type KnowledgeGraph } from "./knowledge_graph.ts";
import {
  encodeModalities,
  type MedTokBatch,
  medtokLayers,
  type MedTokParameters,
  quantizeModalities,
} from "./medtok.ts";
import type { CodeInput } from "./open_codes.ts";
import { loadEncoder } from "./load_encoder.ts";
import type { DescriptionEncoder } from "./text_encoder.ts";
import { type CodeTokens, folderOf, TokenTable } from "./token_table.ts";

/** What a tokenizer is made of. */
export interface TokenizerParts {
  readonly config: MedTokConfig;
  /** Variables, or tensors that nobody trains. */
  readonly parameters: MedTokParameters;
  readonly encoder: DescriptionEncoder;
  /** Needed by `encodeUnseen`, and checked against the table of nodes. */
  readonly graph?: KnowledgeGraph | undefined;
}

/** What `encodeUnseen` is given. */
export interface UnseenCode {
  readonly description: string;
  /** Ids of nodes of the knowledge graph that the code is about, `DOID:9352`; those that it has not are "unknown". */
  readonly nodes?: readonly string[];
  /** For an encoder that looks codes up. */
  readonly system?: string;
  readonly code?: string;
  readonly hops?: number;
}

/** Tokens of a code, and how much of what was said about it is known. */
export interface UnseenTokens extends CodeTokens {
  /** Ids of nodes that the knowledge graph does not have. */
  readonly unknownNodes: readonly string[];
}

/** Options of `encodeBatch`. */
export interface EncodeOptions {
  /** Whether to show how far it is. Default: from 2,000 codes. */
  readonly show?: boolean;
}

/** Floats of text states in a block at most. */
const BLOCK_FLOATS = 2 ** 23;

/** A trained tokenizer. */
export class MedTok {
  readonly config: MedTokConfig;
  readonly parameters: MedTokParameters;
  readonly encoder: DescriptionEncoder;
  readonly graph: KnowledgeGraph | undefined;
  /** Codes in a block: always the same number, whatever is encoded. */
  readonly block: number;
  readonly #encode: Compiled<[MedTokBatch], EncodedBlock>;

  /**
   * @throws {RangeError} Where encoder, graph and settings do not fit each other.
   *
   * @example An untrained one
   * ```ts
   * import assert from "node:assert/strict";
   * import { MedTok, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
   * const { codes, graph } = plantedWorld({ concepts: 8 });
   * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2 });
   * const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
   * const { tokens, embedding } = await tokenizer.encode(codes[0]);
   * assert.deepEqual([tokens.length, embedding.length], [20, 256]);
   * tokenizer.dispose();
   * ```
   */
  constructor({ config, parameters, encoder, graph }: TokenizerParts) {
    if (encoder.dim !== config.textDim) {
      throw new RangeError(
        `the text encoder has ${encoder.dim} channels, but textDim is ${config.textDim}; make them equal`,
      );
    }
    if (graph && graph.nodes.length + 2 > config.nodeRows) {
      throw new RangeError(
        `the graph has ${graph.nodes.length} nodes, for which nodeRows must be at least ${
          graph.nodes.length + 2
        }, but ` +
          `it is ${config.nodeRows}`,
      );
    }
    this.config = config;
    this.parameters = parameters;
    this.encoder = encoder;
    this.graph = graph;
    const fits = Math.floor(BLOCK_FLOATS / (config.textLength * config.textDim));
    this.block = Math.min(256, Math.max(16, 2 ** Math.floor(Math.log2(Math.max(1, fits)))));
    this.#encode = compile((batch: MedTokBatch) => encodeBlock(batch, parameters, config), { xla: false });
  }

  /** With weights as they are before training, drawn from `config.seed`. They are variables, ready to be trained. */
  static untrained(parts: Omit<TokenizerParts, "parameters">): MedTok {
    const drawn = initialise(medtokLayers(parts.config), random(parts.config.seed, "medtok"));
    return new MedTok({ ...parts, parameters: trainable(drawn) as MedTokParameters });
  }

  /** Trained parameters. */
  get parameterCount(): number {
    return countParameters(this.parameters);
  }

  /**
   * The tokens of one code. It costs as much as a block of {@link MedTok.block}: give many to `encodeBatch`.
   *
   * @throws {RangeError} Where the description is empty, or a node is not in the graph.
   */
  async encode(code: CodeInput): Promise<CodeTokens> {
    const table = await this.encodeBatch([code], { show: false });
    return table.at(0);
  }

  /**
   * The tokens of many codes, in their order. Two equal inputs have equal tokens.
   *
   * @throws {RangeError} Where a description is empty, a node is not in the graph, or two rows are for one code.
   */
  async encodeBatch(
    codes: readonly CodeInput[],
    { show = codes.length >= 2000 }: EncodeOptions = {},
  ): Promise<TokenTable> {
    const slots = slotsOf(this.config).length;
    const { K, d } = this.config;
    const tokens = new Int32Array(codes.length * slots * K);
    const weights = new Float32Array(codes.length * slots * K);
    const embeddings = new Float32Array(codes.length * slots * d);
    const bar = show && codes.length > 0 ? progress(codes.length, "codes") : undefined;
    for (let from = 0; from < codes.length; from += this.block) {
      const part = codes.slice(from, from + this.block);
      const block = await this.#encodeBlock(part);
      tokens.set(block.tokens.subarray(0, part.length * slots * K), from * slots * K);
      weights.set(block.weights.subarray(0, part.length * slots * K), from * slots * K);
      embeddings.set(block.embeddings.subarray(0, part.length * slots * d), from * slots * d);
      bar?.update(from + part.length);
      await tick();
    }
    await bar?.done();
    return new TokenTable({
      config: this.config,
      codes: codes.map(({ system, code }) => ({ system, code })),
      descriptions: codes.map(({ description }) => description),
      tokens,
      weights,
      embeddings,
    });
  }

  /**
   * How far a code's tokens are from what they stand for: ‖z − q‖² of each code and slot, where z is the embedding scaled to
   * length 1 and q the weighted sum of its codewords. 0 is exact, 1 as far as nothing at all.
   *
   * @returns [codes, slots]
   */
  async reconstructionErrors(codes: readonly CodeInput[]): Promise<Float32Array> {
    const slots = slotsOf(this.config).length;
    const errors = new Float32Array(codes.length * slots);
    for (let from = 0; from < codes.length; from += this.block) {
      const part = codes.slice(from, from + this.block);
      const block = await this.#encodeBlock(part);
      errors.set(block.errors.subarray(0, part.length * slots), from * slots);
      await tick();
    }
    return errors;
  }

  async #encodeBlock(
    codes: readonly CodeInput[],
  ): Promise<{ tokens: Int32Array; weights: Float32Array; embeddings: Float32Array; errors: Float32Array }> {
    const batch = batchOf(codes, this.encoder, this.config, { padTo: this.block });
    const { same, ...inputs } = batch;
    const result = this.#encode(inputs as MedTokBatch);
    const [tokens, weights, embeddings, errors] = await Promise.all([
      result.tokens.data(),
      result.weights.data(),
      result.embeddings.data(),
      result.errors.data(),
    ]);
    tf.dispose([batch.text, batch.textMask, batch.nodes, batch.nodeMask, batch.pooled, batch.adjacency]);
    tf.dispose([result.tokens, result.weights, result.embeddings, result.errors]);
    same?.dispose();
    return {
      tokens: tokens as Int32Array,
      weights: weights as Float32Array,
      embeddings: embeddings as Float32Array,
      errors: errors as Float32Array,
    };
  }

  /**
   * Tokens of a code that was not there in training: of its description and the nodes that it is about. A node that the graph
   * does not have counts as "unknown node"; without nodes it is a code without a graph.
   *
   * @throws {TypeError} Where nodes are named but the tokenizer has no graph.
   */
  async encodeUnseen(code: UnseenCode): Promise<UnseenTokens> {
    const { description, nodes = [], system = "UNSEEN", code: name = description, hops = 1 } = code;
    if (nodes.length > 0 && !this.graph) {
      throw new TypeError("nodes are named, but this tokenizer has no graph; make it with one");
    }
    const found = nodes.flatMap((id) => this.graph?.indexOf(id) ?? []);
    const unknownNodes = nodes.filter((id) => this.graph?.indexOf(id) === undefined);
    const room = this.config.maxNodes - (unknownNodes.length > 0 ? 1 : 0);
    const known = this.graph && found.length ? egoGraph(this.graph, found, { hops, maxNodes: room }) : undefined;
    const own = known?.nodes ?? new Int32Array();
    const edges = known?.edges ?? new Int32Array();
    // an unknown node stands alone at the end: nothing is known of its neighbours
    const all = unknownNodes.length > 0 ? Int32Array.from([...own, unknownNode]) : own;
    return { ...await this.encode({ system, code: name, description, nodes: all, edges }), unknownNodes };
  }

  /**
   * The vector that tokens and weights stand for: in each slot the weighted sum of its unit codewords. The opposite of
   * encoding, to 1e-6.
   *
   * @param tokens [slots x K]
   * @param weights [slots x K]
   * @returns [slots x d]
   * @throws {RangeError} Where a token is no row of the codebook.
   */
  decode(tokens: ArrayLike<number>, weights: ArrayLike<number>): Float32Array {
    const { K, d, N } = this.config;
    const rows = this.codewords();
    const result = new Float32Array(tokens.length / K * d);
    for (let i = 0; i < tokens.length; i++) {
      const row = tokens[i];
      if (!(row >= 0 && row < N)) throw new RangeError(`token ${row} is no row of the codebook, which has ${N}`);
      const at = Math.floor(i / K) * d;
      for (let k = 0; k < d; k++) result[at + k] += weights[i] * rows[row * d + k];
    }
    return result;
  }

  /** Unit codewords, [N x d], read back from the device. */
  codewords(): Float32Array {
    const { d } = this.config;
    const rows = this.parameters.codebook.weight.dataSync().slice() as Float32Array;
    for (let at = 0; at < rows.length; at += d) {
      let square = 0;
      for (let k = 0; k < d; k++) square += rows[at + k] ** 2;
      const length = Math.sqrt(Math.max(square, 1e-24));
      for (let k = 0; k < d; k++) rows[at + k] /= length;
    }
    return rows;
  }

  /** Which rows each slot may use. */
  get regions() {
    return slotRegions(this.config.N, this.config.sharedRows);
  }

  /**
   * Writes `model.safetensors`, the text encoder (one of your own that cannot be saved is named only, and given to `load`
   * again) and `tokenizer.json` with their hashes.
   *
   * @param folder Made where it is missing.
   */
  async save(folder: string | URL): Promise<void> {
    const at = folderOf(folder);
    await Deno.mkdir(at, { recursive: true });
    await writeSafetensors(new URL("model.safetensors", at), await saveParameters(this.parameters));
    const saved = this.encoder.save !== undefined;
    await this.encoder.save?.(new URL("text_encoder.safetensors", at));
    const files: Record<string, string> = {};
    for (const name of ["model.safetensors", ...(saved ? ["text_encoder.safetensors"] : [])]) {
      files[name] = sha256(await readBytes(new URL(name, at)));
    }
    const record: TokenizerRecord = {
      format: "tessera medtok 1",
      config: this.config,
      encoder: this.encoder.name,
      nodes: this.graph?.nodes.length ?? null,
      files,
    };
    await writeAtomically(new URL("tokenizer.json", at), new TextEncoder().encode(JSON.stringify(record, null, 2)));
  }

  /**
   * Reads what {@link MedTok.save} has written.
   *
   * @param parts The graph, and the text encoder where it was not saved.
   * @throws {Error} Where a hash is wrong, or the encoder or graph is another one.
   */
  static async load(
    folder: string | URL,
    { encoder, graph }: Partial<Pick<TokenizerParts, "encoder" | "graph">> = {},
  ): Promise<MedTok> {
    const at = folderOf(folder);
    const record = JSON.parse(
      new TextDecoder().decode(await readBytes(new URL("tokenizer.json", at))),
    ) as TokenizerRecord;
    if (record.format !== "tessera medtok 1") {
      throw new Error(`${at.pathname}tokenizer.json is of format ${record.format}, not tessera medtok 1`);
    }
    for (const [name, expected] of Object.entries(record.files)) {
      const found = sha256(await readBytes(new URL(name, at)));
      if (found !== expected) {
        throw new Error(
          `${name} has the hash ${found.slice(0, 12)}…, but tokenizer.json says ${
            expected.slice(0, 12)
          }…; the file was ` +
            "changed, save the tokenizer again",
        );
      }
    }
    const ownEncoder = "text_encoder.safetensors" in record.files
      ? await loadEncoder(new URL("text_encoder.safetensors", at))
      : encoder;
    if (!ownEncoder || ownEncoder.name !== record.encoder) {
      throw new Error(
        `the tokenizer was trained with ${record.encoder}, but ${
          ownEncoder?.name ?? "no text encoder"
        } was given; pass ` +
          "that one as encoder",
      );
    }
    if (graph && record.nodes !== null && graph.nodes.length !== record.nodes) {
      throw new Error(
        `the tokenizer was trained on a graph of ${record.nodes} nodes, but this one has ${graph.nodes.length}`,
      );
    }
    const { tensors } = await readSafetensors(new URL("model.safetensors", at));
    const parameters = loadParameters(medtokLayers(record.config), tensors) as MedTokParameters;
    for (const tensor of flatten(parameters).values()) tf.keep(tensor);
    return new MedTok({ config: record.config, parameters, encoder: ownEncoder, graph });
  }

  /** Frees its weights and traces. */
  dispose(): void {
    this.#encode.dispose();
    for (const tensor of flatten(this.parameters).values()) tensor.dispose();
  }
}

interface TokenizerRecord {
  readonly format: "tessera medtok 1";
  readonly config: MedTokConfig;
  readonly encoder: string;
  readonly nodes: number | null;
  readonly files: Readonly<Record<string, string>>;
}

interface EncodedBlock {
  /** [codes, slots, K] */
  readonly tokens: tf.Tensor;
  readonly weights: tf.Tensor;
  /** [codes, slots x d] */
  readonly embeddings: tf.Tensor;
  /** [codes, slots] */
  readonly errors: tf.Tensor;
}

function encodeBlock(batch: MedTokBatch, parameters: MedTokParameters, config: MedTokConfig): EncodedBlock {
  const { slots, embeddings } = quantizeModalities(encodeModalities(batch, parameters, config), parameters, config);
  const all = slotsOf(config).map((slot) => slots[slot]!);
  const errorOf = (slot: Slot) => tf.squaredDifference(unitRows(embeddings[slot]!), slots[slot]!.quantized).sum(1);
  return {
    errors: tf.stack(slotsOf(config).map(errorOf), 1),
    tokens: tf.stack(all.map(({ tokens }) => tokens), 1),
    weights: tf.stack(all.map(({ weights }) => weights), 1),
    embeddings: tf.concat(all.map(({ quantized }) => quantized), 1),
  };
}
