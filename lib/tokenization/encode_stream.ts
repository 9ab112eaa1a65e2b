/**
 * Encoding more codes than fit into memory: in parts, in order, and from where it was stopped.
 *
 * @module
 */
import { readBytes, readSafetensors, sha256, writeAtomically, writeSafetensors } from "../data/mod.ts";
import type { NumericArray } from "../data/mod.ts";
import type { CodeInput } from "./open_codes.ts";
import { folderOf, TokenTable } from "./token_table.ts";
import type { MedTok } from "./tokenizer.ts";

/** Options of {@link encodeStream}. */
export interface EncodeStreamOptions {
  /** Codes in a part. Default: 8192. */
  readonly part?: number;
  /** Whether vectors are written beside tokens and weights: 1 kB per code of four slots. Default: true. */
  readonly embeddings?: boolean;
  /** Called after each part with the number of codes that are done. */
  readonly onPart?: (done: number) => void;
}

/** What {@link encodeStream} has done. */
export interface EncodedStream {
  readonly codes: number;
  readonly parts: number;
  /** Parts that were there already. */
  readonly skipped: number;
}

/**
 * Encodes codes as they come and writes them in parts, `part-00000.safetensors` and so on, completely or not at all. Parts
 * that are there from an earlier run are not made again; `index.json` at the end says that all is there.
 *
 * @param folder Made where it is missing. One that another tokenizer or another size of parts has filled is refused.
 * @throws {Error} Where the folder belongs to another run.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { MedTok, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * const { codes, graph } = plantedWorld({ concepts: 4 });
 * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2 });
 * const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
 * const folder = await Deno.makeTempDir();
 * const { parts } = await encodeStream(tokenizer, codes, folder, { part: 20 });
 * assert.equal(parts, Math.ceil(codes.length / 20));
 * let count = 0;
 * for await (const table of readEncoded(folder, tokenizer)) count += table.size;
 * assert.equal(count, codes.length);
 * await Deno.remove(folder, { recursive: true });
 * tokenizer.dispose();
 * ```
 */
export async function encodeStream(
  tokenizer: MedTok,
  codes: Iterable<CodeInput> | AsyncIterable<CodeInput>,
  folder: string | URL,
  { part = 8192, embeddings = true, onPart }: EncodeStreamOptions = {},
): Promise<EncodedStream> {
  if (!Number.isInteger(part) || part < 1) {
    throw new RangeError(`part must be a whole number from 1, but it is ${part}`);
  }
  const at = folderOf(folder);
  await Deno.mkdir(at, { recursive: true });
  await claim(at, { ...await identity(tokenizer), part, embeddings });
  let parts = 0, skipped = 0, done = 0;
  const finish = async (waiting: CodeInput[]) => {
    const file = new URL(partName(parts++), at);
    if (await Deno.stat(file).then(() => true, () => false)) skipped++;
    else await write(file, await tokenizer.encodeBatch(waiting, { show: false }), embeddings);
    done += waiting.length;
    onPart?.(done);
  };
  let waiting: CodeInput[] = [];
  for await (const code of codes) {
    waiting.push(code);
    if (waiting.length < part) continue;
    await finish(waiting);
    waiting = [];
  }
  if (waiting.length > 0) await finish(waiting);
  await writeAtomically(new URL("index.json", at), new TextEncoder().encode(JSON.stringify({ codes: done, parts })));
  return { codes: done, parts, skipped };
}

/**
 * The tables that {@link encodeStream} has written, part after part, in the order of the codes. Where vectors were not
 * written they are looked up.
 *
 * @throws {Error} Where the stream was not finished.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { MedTok, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * const { graph } = plantedWorld({ concepts: 4 });
 * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2 });
 * const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
 * const folder = await Deno.makeTempDir();
 * await assert.rejects(readEncoded(folder, tokenizer).next(), /is not finished/);
 * await Deno.remove(folder);
 * tokenizer.dispose();
 * ```
 */
export async function* readEncoded(folder: string | URL, tokenizer: MedTok): AsyncGenerator<TokenTable> {
  const at = folderOf(folder);
  const text = await Deno.readTextFile(new URL("index.json", at)).catch(() => undefined);
  if (text === undefined) {
    throw new Error(`${at.pathname} is not finished: it has no index.json; call encodeStream again`);
  }
  const { parts } = JSON.parse(text) as { parts: number };
  for (let i = 0; i < parts; i++) {
    const { tensors, metadata } = await readSafetensors(new URL(partName(i), at));
    const tokens = tensors.get("tokens")!.data as Int32Array, weights = tensors.get("weights")!.data as Float32Array;
    const embeddings = tensors.get("embeddings")?.data as Float32Array | undefined;
    yield new TokenTable({
      config: tokenizer.config,
      codes: (JSON.parse(metadata.codes) as [string, string][]).map(([system, code]) => ({ system, code })),
      tokens,
      weights,
      embeddings: embeddings ?? tokenizer.decode(tokens, weights),
    });
  }
}

function partName(i: number): string {
  return `part-${String(i).padStart(5, "0")}.safetensors`;
}

async function write(file: URL, table: TokenTable, embeddings: boolean): Promise<void> {
  const { K, d } = table.config;
  const slots = table.slots.length;
  const arrays = new Map<string, NumericArray>([
    ["tokens", { shape: [table.size, slots, K], dtype: "int32", data: table.tokens }],
    ["weights", { shape: [table.size, slots, K], dtype: "float32", data: table.weights }],
  ]);
  if (embeddings) {
    arrays.set("embeddings", { shape: [table.size, slots * d], dtype: "float32", data: table.embeddings });
  }
  const codes = JSON.stringify(table.codes.map(({ system, code }) => [system, code]));
  await writeSafetensors(file, arrays, { codes });
}

/** What a folder of parts belongs to: settings and weights. */
async function identity(tokenizer: MedTok): Promise<{ config: unknown; encoder: string; weights: string }> {
  const { codebook, textMapped } = tokenizer.parameters;
  const bytes = await Promise.all([codebook.weight, textMapped.weight].map(async (tensor) => {
    const data = await tensor.data();
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }));
  return { config: tokenizer.config, encoder: tokenizer.encoder.name, weights: sha256(...bytes) };
}

async function claim(folder: URL, run: object): Promise<void> {
  const file = new URL("run.json", folder);
  const text = JSON.stringify(run);
  if (!await Deno.stat(file).then(() => true, () => false)) {
    await writeAtomically(file, new TextEncoder().encode(text));
  } else if (new TextDecoder().decode(await readBytes(file)) !== text) {
    throw new Error(
      `${folder.pathname} holds parts of another tokenizer or another size; name another folder, or empty it`,
    );
  }
}
