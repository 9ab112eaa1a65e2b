/**
 * Readers for the files that the authors' code expects and publishes, for who has them: their licences do not let us pass
 * them on.
 *
 * Su et al., ICML 2025, arXiv:2502.04397; github mims-harvard/MedTok and its data set on Harvard Dataverse,
 * doi 10.7910/DVN/7XNT3M; PrimeKG: Chandak et al., Scientific Data 2023, doi 10.1038/s41597-023-01960-3. Of their pickled
 * files (`.pkl`) plain data is read; one that would run Python is refused. Their tables of patients are read by
 * `medtokVisits` in `lib/data`.
 *
 * @module
 */
import { type PickleValue, readBytes, readNpy, readPickle, readTable } from "../data/mod.ts";
import { egoGraph, type EgoOptions, type GraphNode, type KnowledgeGraph, knowledgeGraph } from "./knowledge_graph.ts";
import type { CodeInput } from "./open_codes.ts";
import { requireColumns } from "./text_encoder.ts";

/** One row of the authors' table of codes. */
export interface MappedCode {
  /** With dots. */
  readonly code: string;
  readonly description: string;
  /** PrimeKG's numbers of the nodes that belong to the code. */
  readonly nodes: Int32Array;
}

/**
 * Reads `all_codes_mappings.parquet`: columns `med_code`, `desc`, `pkg_index_list`. The order of its rows is the vocabulary's.
 *
 * @throws {Error} Where a column is missing, naming it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import pl from "nodejs-polars";
 * import { writeTable } from "tessera/data/mod.ts";
 * const file = await Deno.makeTempFile({ suffix: ".parquet" });
 * await writeTable(file, pl.DataFrame({ med_code: ["E11.9"], desc: ["Type 2 diabetes"], pkg_index_list: [[3, 7]] }));
 * const [row] = await readCodeMappings(file);
 * assert.deepEqual([row.code, [...row.nodes]], ["E11.9", [3, 7]]);
 * await Deno.remove(file);
 * ```
 */
export async function readCodeMappings(file: string | URL): Promise<MappedCode[]> {
  const frame = await readTable(file);
  requireColumns(frame, ["med_code", "desc", "pkg_index_list"], String(file));
  const [codes, texts, lists] = ["med_code", "desc", "pkg_index_list"].map((name) => frame.getColumn(name).toArray());
  return codes.map((code, i) => ({
    code: String(code),
    description: String(texts[i] ?? ""),
    nodes: Int32Array.from(Array.from((lists[i] ?? []) as unknown as ArrayLike<number>), Number),
  }));
}

/**
 * Reads PrimeKG's `kg.csv`. Nodes keep PrimeKG's numbers; each edge is in the file in both directions and is taken once. Of
 * four million rows this takes about a minute and 2 GB.
 *
 * @throws {Error} Where a column is missing, naming it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".csv" });
 * const columns = "relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source";
 * const rows = ["indication,treats,0,DB1,drug,metformin,DrugBank,1,M1,disease,diabetes,MONDO",
 *   "indication,treats,1,M1,disease,diabetes,MONDO,0,DB1,drug,metformin,DrugBank"];
 * await Deno.writeTextFile(file, [columns, ...rows].join("\n"));
 * const graph = await readPrimeKG(file);
 * assert.deepEqual([graph.nodes.map(({ label }) => label), graph.neighbours.length], [["metformin", "diabetes"], 2]);
 * await Deno.remove(file);
 * ```
 */
export async function readPrimeKG(file: string | URL): Promise<KnowledgeGraph> {
  const wanted = ["relation", ...["x", "y"].flatMap((end) => [`${end}_index`, `${end}_type`, `${end}_name`])];
  const frame = await readTable(file);
  requireColumns(frame, wanted, String(file));
  const [relation, xIndex, xType, xName, yIndex, yType, yName] = wanted.map((name) => frame.getColumn(name).toArray());
  const nodes: GraphNode[] = [];
  const edges: { source: string; target: string; relation: string }[] = [];
  const put = (index: unknown, kind: unknown, label: unknown) => {
    const number = Number(index);
    nodes[number] ??= { id: `PrimeKG:${number}`, label: String(label), kind: String(kind) };
  };
  relation.forEach((name, i) => {
    put(xIndex[i], xType[i], xName[i]);
    put(yIndex[i], yType[i], yName[i]);
    if (Number(xIndex[i]) > Number(yIndex[i])) return; // the same edge the other way round
    edges.push({ source: `PrimeKG:${xIndex[i]}`, target: `PrimeKG:${yIndex[i]}`, relation: String(name) });
  });
  const gaps = Array.from(
    nodes,
    (node, i): GraphNode => node ?? { id: `PrimeKG:${i}`, label: "(not in the file)", kind: "none" },
  );
  return knowledgeGraph(gaps, edges);
}

/**
 * The authors' codes as what a tokenizer reads: each with the subgraph around its nodes.
 *
 * @param systemOf The system of a code, which the authors' table does not say. Default: "MedTok" for all.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { knowledgeGraph } from "tessera/tokenization/mod.ts";
 * const graph = knowledgeGraph([{ id: "PrimeKG:0", label: "metformin", kind: "drug" }], []);
 * const rows = [{ code: "A10BA02", description: "metformin", nodes: Int32Array.of(0) }];
 * assert.deepEqual([...codesOfMappings(rows, graph)[0].nodes], [0]);
 * ```
 */
export function codesOfMappings(
  rows: readonly MappedCode[],
  graph: KnowledgeGraph,
  { systemOf = () => "MedTok", ...ego }: EgoOptions & { readonly systemOf?: (code: string) => string } = {},
): CodeInput[] {
  return rows.map(({ code, description, nodes }) => (
    { system: systemOf(code), code, description, ...egoGraph(graph, nodes, ego) }
  ));
}

/** The authors' published tables. */
export interface MedTokArrays {
  readonly codes: number;
  /** [codes, 4, K], where the file was given. In the authors' code graph-specific tokens count from their region's start. */
  readonly tokens?: Int32Array;
  readonly weights?: Float32Array;
  /** [codes, 256] */
  readonly embeddings?: Float32Array;
}

/**
 * Reads `embeddings_all.npy`, `tokens_all.npy` and `weights_all.npy`, whichever are there.
 *
 * @throws {Error} Where none is there, or they have different numbers of codes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const folder = await Deno.makeTempDir();
 * await assert.rejects(readMedTokArrays(folder), /has none of embeddings_all\.npy/);
 * await Deno.remove(folder);
 * ```
 */
export async function readMedTokArrays(folder: string): Promise<MedTokArrays> {
  const names = { embeddings: "embeddings_all.npy", tokens: "tokens_all.npy", weights: "weights_all.npy" };
  const found: { codes?: number; tokens?: Int32Array; weights?: Float32Array; embeddings?: Float32Array } = {};
  for (const [key, name] of Object.entries(names) as [keyof typeof names, string][]) {
    if (!await Deno.stat(`${folder}/${name}`).then(() => true, () => false)) continue;
    const { shape, data } = await readNpy(`${folder}/${name}`);
    if (found.codes !== undefined && found.codes !== shape[0]) {
      throw new Error(
        `${name} has ${shape[0]} codes, but the other files have ${found.codes}; take them from one release`,
      );
    }
    found.codes = shape[0];
    const numbers = Array.from(data as ArrayLike<number | bigint>, Number);
    if (key === "tokens") found.tokens = Int32Array.from(numbers);
    else found[key] = data instanceof Float32Array ? data : Float32Array.from(numbers);
  }
  if (found.codes === undefined) {
    throw new Error(`${folder} has none of ${Object.values(names).join(", ")}; name the folder that has them`);
  }
  return { ...found, codes: found.codes };
}

/**
 * Reads `code2embeddings.json` or `code2tokens.json`: an object from codes to lists of numbers (of lists: one after the other).
 *
 * @throws {Error} Where a value is no list of numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".json" });
 * await Deno.writeTextFile(file, '{"E11.9": [1, 2], "E10": [[3], [4]]}');
 * assert.deepEqual([...(await readCodeJson(file)).get("E10")!], [3, 4]);
 * await Deno.remove(file);
 * ```
 */
export async function readCodeJson(file: string | URL): Promise<Map<string, Float32Array>> {
  const content: unknown = JSON.parse(new TextDecoder().decode(await readBytes(file)));
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new Error(`${file} is no object from codes to numbers; check that it is the right file`);
  }
  return new Map(
    Object.entries(content).map(([code, value]) => {
      const numbers = Array.isArray(value) ? value.flat(2) : [];
      if (numbers.length === 0 || numbers.some((number) => typeof number !== "number")) {
        throw new Error(`${file}: the value of ${JSON.stringify(code)} is no list of numbers`);
      }
      return [code, Float32Array.from(numbers as number[])];
    }),
  );
}

/** One question of `MedicalQA/*_dataset.json`. */
export interface QuestionWithCodes {
  /** Question and options. */
  readonly question: string;
  /** The letter of the right option. */
  readonly answer: string;
  /** Rows of the authors' vocabulary; 617,490 is "missing", for which their table has no row. */
  readonly codes: readonly number[];
}

/**
 * Reads the questions of the authors' `MedicalQA` folder.
 *
 * @throws {Error} Where an entry has no question, answer or codes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".json" });
 * await Deno.writeTextFile(file, '[{"input": ["Which? A) x B) y", "A"], "medical_codes": [617490]}]');
 * assert.deepEqual(await readQuestions(file), [{ question: "Which? A) x B) y", answer: "A", codes: [617490] }]);
 * await Deno.remove(file);
 * ```
 */
export async function readQuestions(file: string | URL): Promise<QuestionWithCodes[]> {
  const content = JSON.parse(new TextDecoder().decode(await readBytes(file))) as {
    input?: unknown[];
    medical_codes?: unknown[];
  }[];
  return content.map(({ input, medical_codes: codes }, i) => {
    const [question, answer] = input ?? [];
    if (typeof question !== "string" || typeof answer !== "string" || !Array.isArray(codes)) {
      throw new Error(`${file}, entry ${i}: "input" [question, letter] and "medical_codes" are expected`);
    }
    return { question, answer, codes: codes.map(Number) };
  });
}

/**
 * Reads `phenotype_index.pkl`: for each phenotype, 0 to 23, PrimeKG's number of its node. In the authors' file two phenotypes,
 * 4 and 17, have one node, so that 23 nodes are distinct.
 *
 * @throws {Error} Where the file holds something else.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".pkl" });
 * await Deno.writeFile(file, Uint8Array.of(0x80, 2, 0x7d, 0x4b, 4, 0x4d, 0xb0, 0x59, 0x73, 0x2e)); // {4: 22960}
 * assert.deepEqual([...await readPhenotypeIndex(file)], [[4, 22960]]);
 * await Deno.remove(file);
 * ```
 */
export async function readPhenotypeIndex(file: string | URL): Promise<Map<number, number>> {
  const rows = dictionaryOf(await readPickle(file), file);
  return new Map(rows.map(([phenotype, node]) => {
    if (typeof phenotype !== "number" || typeof node !== "number") {
      throw new Error(`${file}: a phenotype's number and a node's are expected, but there is ${phenotype}: ${node}`);
    }
    return [phenotype, node];
  }));
}

/** Word pieces of a description, as BERT's tokenizer numbers them. */
export interface DescriptionPieces {
  readonly ids: Int32Array;
  /** 1 for a piece, 0 for padding. */
  readonly mask: Int32Array;
}

/**
 * Reads `med_code_descriptions.pkl`: for each row of the table of codes its word pieces, `input_ids` and `attention_mask`.
 *
 * @throws {Error} Where the file holds something else, or tensors of PyTorch: save lists.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const file = await Deno.makeTempFile({ suffix: ".pkl" });
 * await Deno.writeFile(file, Uint8Array.of(0x80, 2, 0x7d, 0x2e)); // {}
 * assert.equal((await readDescriptionPieces(file)).size, 0);
 * await Deno.remove(file);
 * ```
 */
export async function readDescriptionPieces(file: string | URL): Promise<Map<number, DescriptionPieces>> {
  const numbersOf = (row: PickleValue, values: Map<PickleValue, PickleValue>, name: string) => {
    const list = values.get(name);
    const numbers = Array.isArray(list) ? list.flat(1) : [];
    if (!numbers.length || numbers.some((number) => typeof number !== "number")) {
      throw new Error(`${file}, row ${row}: ${name} is no list of numbers`);
    }
    return Int32Array.from(numbers as number[]);
  };
  return new Map(
    dictionaryOf(await readPickle(file), file).map(([row, values]) => {
      if (typeof row !== "number" || !(values instanceof Map)) {
        throw new Error(`${file}: rows with input_ids and attention_mask are expected, but there is ${row}`);
      }
      const [ids, mask] = ["input_ids", "attention_mask"].map((name) => numbersOf(row, values, name));
      if (ids.length !== mask.length) {
        throw new Error(`${file}, row ${row}: ${ids.length} input_ids have an attention_mask of ${mask.length}`);
      }
      return [row, { ids, mask }];
    }),
  );
}

function dictionaryOf(value: PickleValue, file: string | URL): [PickleValue, PickleValue][] {
  if (!(value instanceof Map)) throw new Error(`${file} holds no dictionary; check that it is the right file`);
  return [...value];
}
