import assert from "node:assert/strict";
import pl from "nodejs-polars";
import { readTable, sha256, writeSafetensors, writeTable } from "../../lib/data/mod.ts";
import { random } from "../../lib/random.ts";
import { tf } from "../../lib/tensor/mod.ts";
import {
  batchOf,
  type CodeInput,
  encodeModalities,
  loadEncoder,
  lsaEncoder,
  MedTok,
  type MedTokConfig,
  medtokConfig,
  plantedWorld,
  quantizeModalities,
  reconstructionError,
  reserved,
  TokenTable,
  trainMedTok,
  trainWordPieceTransformer,
  vectorsFromFile,
  wordVectors,
} from "../../lib/tokenization/mod.ts";
import { assertClose } from "../golden/cases.ts";

const world = plantedWorld({ seed: 2, concepts: 40 });

function settings(changes: Partial<MedTokConfig> = {}): MedTokConfig {
  return medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2, ...changes });
}

function untrained(changes: Partial<MedTokConfig> = {}): MedTok {
  return MedTok.untrained({ config: settings(changes), encoder: wordVectors(), graph: world.graph });
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("encoding is deterministic, keeps the order and the last codes, and does not depend on what stands beside", async () => {
  const tokenizer = untrained();
  const codes = world.codes.slice(0, 300); // one whole block, and a part of one
  const table = await tokenizer.encodeBatch(codes, { show: false });
  assert.deepEqual(table.codes, codes.map(({ system, code }) => ({ system, code })));
  const again = await tokenizer.encodeBatch(codes, { show: false });
  assert.deepEqual([again.tokens, again.weights, again.embeddings], [table.tokens, table.weights, table.embeddings]);
  const order = random(1, "order").permutation(codes.length);
  const shuffled = await tokenizer.encodeBatch(order.map((i) => codes[i]), { show: false });
  order.forEach((i, place) => assert.deepEqual(shuffled.at(place), table.at(i), `code ${i} at place ${place}`));
  assert.deepEqual(await tokenizer.encode(codes[299]), table.at(299));
  tokenizer.dispose();
});

Deno.test("equal descriptions and subgraphs have equal tokens, whatever the code; lookup gives the embedding", async () => {
  const tokenizer = untrained();
  const [code] = world.codes;
  const twin: CodeInput = { ...code, system: "OTHER", code: "1" };
  const table = await tokenizer.encodeBatch([code, twin, world.codes[50]], { show: false });
  assert.deepEqual(table.at(1), table.at(0));
  for (let place = 0; place < 3; place++) {
    const { tokens, weights, embedding } = table.at(place);
    assertClose([...tokenizer.decode(tokens, weights)], [...embedding], "lookup", 1e-6);
  }
  assert.throws(
    () => tokenizer.decode([tokenizer.config.N], [1]),
    /token 360 is no row of the codebook, which has 360/,
  );
  tokenizer.dispose();
});

Deno.test("reconstruction errors are the squared distances of unit vectors: with one codeword, its own", async () => {
  const tokenizer = untrained({ K: 1, modality: "text" });
  const codes = world.codes.slice(0, 20);
  const errors = await tokenizer.reconstructionErrors(codes);
  const batch = batchOf(codes, tokenizer.encoder, tokenizer.config);
  const encoded = encodeModalities(batch, tokenizer.parameters, tokenizer.config);
  const { slots } = quantizeModalities(encoded, tokenizer.parameters, tokenizer.config);
  assertClose([...errors], slots.textSpecific!.distances.flatten().arraySync(), "one codeword", 1e-5);
  const { textSpecific } = await reconstructionError(tokenizer, codes);
  assertClose([textSpecific!], [errors.reduce((sum, error) => sum + error, 0) / codes.length], "the mean", 1e-6);
  tokenizer.dispose();
});

Deno.test("a code that was not there in training is encoded, and its unknown nodes are counted", async () => {
  const tokenizer = untrained();
  const known = await tokenizer.encodeUnseen({ description: "category3word1 severe0", nodes: ["concept 5"] });
  assert.deepEqual(known.unknownNodes, []);
  const seen = world.codes.find((_, i) => world.planted.codes[i].concept === 5)!;
  assert.deepEqual(known.tokens.slice(5, 10), (await tokenizer.encode(seen)).tokens.slice(5, 10), "the same subgraph");
  const partly = await tokenizer.encodeUnseen({ description: "a b", nodes: ["concept 5", "gene of Mars"] });
  assert.deepEqual(partly.unknownNodes, ["gene of Mars"]);
  assert.notDeepEqual(partly.embedding, known.embedding);
  const bare = await tokenizer.encodeUnseen({ description: "a b" });
  assert.equal(bare.tokens.length, 20);
  await assert.rejects(tokenizer.encodeUnseen({ description: "" }), /the description of UNSEEN: is empty/);
  const withoutGraph = new MedTok({
    config: tokenizer.config,
    parameters: tokenizer.parameters,
    encoder: tokenizer.encoder,
  });
  await assert.rejects(withoutGraph.encodeUnseen({ description: "a", nodes: ["x"] }), /has no graph; make it with one/);
  tokenizer.dispose();
});

Deno.test("a saved table is the same after loading; a changed file, a missing column and a double row are refused", async () => {
  const tokenizer = untrained();
  const codes = world.codes.slice(0, 20);
  const table = await tokenizer.encodeBatch(codes, { show: false });
  await inFolder(async (folder) => {
    await table.save(folder);
    const loaded = await TokenTable.load(folder);
    assert.deepEqual(
      [loaded.codes, loaded.descriptions, loaded.tokens, loaded.weights, loaded.embeddings, loaded.config],
      [table.codes, table.descriptions, table.tokens, table.weights, table.embeddings, table.config],
    );
    const manifest = JSON.parse(await Deno.readTextFile(`${folder}/manifest.json`));
    assert.deepEqual(manifest.reserved, { PAD: 0, UNK: 1, MISSING: 2, MASK: 3, CLS: 4 });
    assert.equal(manifest.preset, "lite");
    assert.equal(manifest.files["tables.safetensors"], sha256(await Deno.readFile(`${folder}/tables.safetensors`)));

    const columns = await readTable(`${folder}/tokens.parquet`);
    assert.equal(columns.getColumn("token_7").toArray()[3], table.at(3).tokens[7]);
    await writeTable(`${folder}/tokens.parquet`, columns.drop("code"));
    await assert.rejects(
      TokenTable.load(folder),
      /tokens\.parquet has the hash .*…, but manifest\.json says .*…; the file/,
    );
    manifest.files["tokens.parquet"] = sha256(await Deno.readFile(`${folder}/tokens.parquet`));
    await Deno.writeTextFile(`${folder}/manifest.json`, JSON.stringify(manifest));
    await assert.rejects(TokenTable.load(folder), /tokens\.parquet has no column "code"; it has system, description/);
  });
  await assert.rejects(tokenizer.encodeBatch([codes[0], codes[0]], { show: false }), {
    name: "RangeError",
    message: `two rows are for A:${codes[0].code}, 0 and 1; keep one`,
  });
  tokenizer.dispose();
});

Deno.test("unknown and missing codes have ids of their own and are counted, never dropped", async () => {
  const tokenizer = untrained();
  const icd: CodeInput = { ...world.codes[0], system: "ICD10CM", code: "E11.9" };
  const table = await tokenizer.encodeBatch([icd, world.codes[1]], { show: false });
  const { ids, ...counts } = table.lookUp([
    { system: "ICD10CM", code: "e119" },
    { system: "ICD10CM", code: "Z99.9" },
    null,
    { system: "A", code: world.codes[1].code },
    { system: "ICD10CM", code: "Z99.9" },
    { system: "ICD10CM", code: " " },
  ]);
  assert.deepEqual([...ids], [5, reserved.UNK, reserved.MISSING, 6, reserved.UNK, reserved.MISSING]);
  assert.deepEqual(counts, { found: 2, unknown: 2, missing: 2, unknownCodes: ["ICD10CM:Z99.9"] });
  assert.deepEqual([...table.atId(reserved.UNK).tokens], new Array(20).fill(360 + reserved.UNK));
  assert.deepEqual(table.atId(5), table.at(0));
  assert.equal(table.tokenCount, 365);
  const more = table.concat(await tokenizer.encodeBatch([world.codes[2]], { show: false }));
  assert.equal(more.idOf("ICD10CM", "E11.9"), 5, "ids stay as they are");
  assert.equal(more.idOf("A", world.codes[2].code), 7);
  assert.throws(() => table.concat(table), /two rows are for ICD10CM:E11\.9/);
  assert.throws(() => table.at(2), /there is no code 2 in the table; its places are 0 to 1/);
  tokenizer.dispose();
});

Deno.test("a saved tokenizer encodes the same after loading; another encoder, graph or hash is refused", async () => {
  const texts = world.codes.map(({ description }) => description);
  const encoder = lsaEncoder(texts, { dim: 32 });
  const config = settings({ textDim: 32 });
  const tokenizer = MedTok.untrained({ config, encoder, graph: world.graph });
  const codes = world.codes.slice(0, 10);
  const table = await tokenizer.encodeBatch(codes, { show: false });
  await inFolder(async (folder) => {
    await tokenizer.save(folder);
    const loaded = await MedTok.load(folder, { graph: world.graph });
    assert.equal(loaded.parameterCount, tokenizer.parameterCount);
    const again = await loaded.encodeBatch(codes, { show: false });
    assert.deepEqual([again.tokens, again.weights, again.embeddings], [table.tokens, table.weights, table.embeddings]);
    loaded.dispose();
    const other = plantedWorld({ seed: 2, concepts: 41 });
    await assert.rejects(
      MedTok.load(folder, { graph: other.graph }),
      /trained on a graph of \d+ nodes, but this one has/,
    );
    const file = `${folder}/model.safetensors`;
    const bytes = await Deno.readFile(file);
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(file, bytes);
    await assert.rejects(MedTok.load(folder), /model\.safetensors has the hash .*…, but tokenizer\.json says/);
  });
  // one of the reader's own, which has no save()
  const { name, dim, encode } = wordVectors();
  const plain = MedTok.untrained({ config: settings(), encoder: { name, dim, encode }, graph: world.graph });
  await inFolder(async (folder) => {
    await plain.save(folder);
    await assert.rejects(MedTok.load(folder), /trained with random word vectors .*, but no text encoder was given/);
    await assert.rejects(
      MedTok.load(folder, { encoder: wordVectors({ seed: 5 }) }),
      /but random word vectors \(96, seed 5\) was given/,
    );
    (await MedTok.load(folder, { encoder: wordVectors() })).dispose();
  });
  tokenizer.dispose();
  plain.dispose();
});

Deno.test("every text encoder is saved with its tokenizer and encodes the same after loading", async () => {
  const codes = world.codes.slice(0, 6);
  const texts = codes.map(({ description }) => description);
  await inFolder(async (folder) => {
    const file = `${folder}/states.safetensors`;
    const numbers = random(0, "states").normals(codes.length * 8);
    const named = JSON.stringify(codes.map(({ system, code }) => `${system}:${code}`));
    const vectors = { shape: [codes.length, 8], dtype: "float32" as const, data: numbers };
    await writeSafetensors(file, new Map([["vectors", vectors]]), { codes: named });
    const pieces = { pieces: 80, width: 8, layers: 1, heads: 2, length: 12, epochs: 1, batch: 6, show: false };
    const transformer = await trainWordPieceTransformer(texts, pieces);
    for (const encoder of [wordVectors({ dim: 8, seed: 3 }), await vectorsFromFile(file), transformer]) {
      const config = settings({ textDim: 8 });
      const tokenizer = MedTok.untrained({ config, encoder, graph: world.graph });
      await tokenizer.save(folder);
      const loaded = await MedTok.load(folder);
      assert.equal(loaded.encoder.name, encoder.name);
      assert.deepEqual(loaded.encoder.encode(codes, 8), encoder.encode(codes, 8), encoder.name);
      assert.deepEqual(await loaded.encode(codes[3]), await tokenizer.encode(codes[3]), encoder.name);
      tokenizer.dispose();
      loaded.dispose();
    }
    transformer.dispose();
    await assert.rejects(loadEncoder(`${folder}/model.safetensors`), /model\.safetensors holds no text encoder/);
    await assert.rejects(loadEncoder(file), /holds no text encoder/);
  });
});

Deno.test("vectors of any language model come from a file: one per code, or states, as safetensors or Parquet", async () => {
  const code = (name: string) => ({ system: "ICD10CM", code: name, description: "" });
  await inFolder(async (folder) => {
    const file = `${folder}/bert.safetensors`;
    const states = {
      shape: [2, 3, 2],
      dtype: "float32" as const,
      data: Float32Array.from({ length: 12 }, (_, i) => i),
    };
    const lengths = { shape: [2], dtype: "int32" as const, data: Int32Array.of(3, 1) };
    const codes = ["ICD10CM:E10", "ICD10CM:E11"];
    await writeSafetensors(
      file,
      new Map<string, typeof states | typeof lengths>([["states", states], ["lengths", lengths]]),
      {
        codes: JSON.stringify(codes),
      },
    );
    const encoder = await vectorsFromFile(file, { name: "bert-base-uncased" });
    assert.deepEqual([encoder.name, encoder.dim], ["bert-base-uncased", 2]);
    const read = encoder.encode([code("E11"), code("E10")], 2);
    assert.deepEqual([...read.states], [6, 7, 0, 0, 0, 1, 2, 3], "one state of E11, the first two of E10");
    assert.deepEqual([...read.mask], [1, 0, 1, 1]);
    assert.throws(() => encoder.encode([code("E12")], 2), /has no vector for ICD10CM:E12; it has 2 others/);

    const parquet = `${folder}/bert.parquet`;
    const rows = { system: ["ICD10CM", "ICD10CM"], code: ["E10", "E11"] };
    await writeTable(parquet, pl.DataFrame({ ...rows, vector: [[1.5, 2.5], [3.5, 4.5]] }));
    const fromTable = await vectorsFromFile(parquet);
    assert.deepEqual([...fromTable.encode([code("E11")], 1).states], [3.5, 4.5]);

    await writeTable(parquet, pl.DataFrame({ ...rows, embedding: [[1], [2]] }));
    await assert.rejects(
      vectorsFromFile(parquet),
      /bert\.parquet has no column "vector"; it has system, code, embedding/,
    );
    await writeTable(parquet, pl.DataFrame({ system: ["A", "A"], code: ["1", "1"], vector: [[1], [2]] }));
    await assert.rejects(vectorsFromFile(parquet), /has two rows for A:1; keep one/);
    await writeTable(parquet, pl.DataFrame({ system: ["A", "A"], code: ["1", "2"], vector: [[1], [2, 3]] }));
    await assert.rejects(vectorsFromFile(parquet), /row 1: vectors must have 1 numbers, as in the first row/);
    await writeSafetensors(
      file,
      new Map([["vectors", { shape: [1, 1], dtype: "float32" as const, data: Float32Array.of(1) }]]),
    );
    await assert.rejects(vectorsFromFile(file), /must name its 1 codes in the metadata "codes"/);
  });
});

Deno.test("training goes on from a checkpoint to the same numbers, and shows each term of its loss", async () => {
  const config = settings({ batch: 32, steps: 14, N: 60 });
  const encoder = wordVectors();
  const train = (more: object = {}) =>
    trainMedTok(world.codes, { config, encoder, graph: world.graph, show: false, ...more });
  const whole = await train();
  assert.deepEqual(
    Object.keys(whole.run.history).sort(),
    ["alignment", "codebook", "commitment", "gradientNorm", "kl", "loss", "orthogonality", "shared", "specific"],
  );
  const { loss } = whole.run.history;
  assert.ok(loss.at(-1)! < 0.8 * loss[0], `${loss[0]} became ${loss.at(-1)}`);
  assert.equal(whole.run.validation[0].values["used text"] > 0, true);
  await inFolder(async (folder) => {
    const checkpoint = `${folder}/run.safetensors`;
    const stop = new AbortController();
    let batches = 0;
    const counting = {
      ...encoder,
      encode: (...args: Parameters<typeof encoder.encode>) => {
        if (++batches === 12) stop.abort(new DOMException("stopped by the test", "AbortError"));
        return encoder.encode(...args);
      },
    };
    await assert.rejects(train({ encoder: counting, checkpoint, signal: stop.signal }), /stopped by the test/);
    const resumed = await train({ checkpoint });
    assert.equal(resumed.run.steps, whole.run.steps);
    assert.deepEqual(resumed.run.history.loss, whole.run.history.loss);
    const [a, b] = [whole, resumed].map(({ tokenizer }) => tokenizer.parameters.codebook.weight.dataSync());
    assert.deepEqual(a, b);
    resumed.tokenizer.dispose();
  });
  whole.tokenizer.dispose();
  await assert.rejects(trainMedTok(world.codes.slice(0, 5), { config, encoder }), /5 codes do not fill a batch of 32/);
});

Deno.test("a tokenizer frees what it holds", async () => {
  const before = tf.memory().numTensors;
  const tokenizer = untrained();
  await tokenizer.encodeBatch(world.codes.slice(0, 3), { show: false });
  const config = settings({ batch: 16, steps: 2, N: 30 });
  const { tokenizer: trained } = await trainMedTok(world.codes.slice(0, 40), {
    config,
    encoder: wordVectors(),
    show: false,
  });
  trained.dispose();
  tokenizer.dispose();
  assert.equal(tf.memory().numTensors, before);
});
