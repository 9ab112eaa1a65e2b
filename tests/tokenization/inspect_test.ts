import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import {
  cohortReport,
  crossSystemHits,
  encodeStream,
  explain,
  invertedIndex,
  leakReport,
  MedTok,
  medtokConfig,
  nearestCodes,
  neighbourGraph,
  pairAUC,
  plantedWorld,
  probe,
  readEncoded,
  slotVectors,
  tokenChurn,
  tokenMap,
  tokenOverlap,
  tokenString,
  truncatedSVD,
  usage,
  wordVectors,
} from "../../lib/tokenization/mod.ts";

const world = plantedWorld({ seed: 3, concepts: 40 });
const config = medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2, N: 90 });
const concepts = world.planted.codes.map(({ concept }) => concept);
const display = Symbol.for("Jupyter.display");
const untrained = () => MedTok.untrained({ config, encoder: wordVectors(), graph: world.graph });
const plain = async (shown: object) => (await Reflect.get(shown, display).call(shown))["text/plain"] as string;

Deno.test("the inverted index holds every token of every code once, and explain() agrees with it", async () => {
  const tokenizer = untrained();
  const table = await tokenizer.encodeBatch(world.codes, { show: false });
  const index = invertedIndex(table);
  let uses = 0;
  for (const token of index.tokens) {
    const own = index.codesOf(token);
    uses += own.length;
    own.forEach(({ place, slot, weight }, i) => {
      const at = table.slots.indexOf(slot) * config.K;
      const k = table.at(place).tokens.subarray(at, at + config.K).indexOf(token);
      assert.ok(k >= 0);
      assert.equal(table.at(place).weights[at + k], weight);
      assert.ok(i === 0 || own[i - 1].weight >= weight);
    });
  }
  assert.equal(uses, table.tokens.length);
  assert.deepEqual(index.codesOf(-1), []);

  const rows = explain(table, 7, index);
  assert.deepEqual(rows.map(({ token }) => token), [...table.at(7).tokens]);
  for (const { token, others, examples } of rows) {
    assert.ok(examples.every(({ place }) => place !== 7 && table.at(place).tokens.includes(token)));
    const expected = Array.from({ length: table.size }, (_, i) => i).filter((i) =>
      i !== 7 && table.at(i).tokens.includes(token)
    );
    assert.equal(others, expected.length);
  }
  assert.match(await plain(rows), /20 rows x 5 columns/);
  const [first] = rows;
  assert.ok(tokenString(table, 7).startsWith(first.name));
  tokenizer.dispose();
});

Deno.test("nearest codes are those of a brute search, within a system, across systems and by single slots", async () => {
  const tokenizer = untrained();
  const table = await tokenizer.encodeBatch(world.codes, { show: false });
  const vectors = slotVectors(table, ["graphSpecific"]);
  const cosine = (a: number, b: number) => {
    const [x, y] = [a, b].map((i) => vectors.subarray(i * config.d, (i + 1) * config.d));
    const dot = (p: Float32Array, q: Float32Array) => p.reduce((sum, value, k) => sum + value * q[k], 0);
    return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  };
  const found = nearestCodes(table, 3, { slots: ["graphSpecific"], top: 5 });
  const best = Array.from({ length: table.size }, (_, i) => i).filter((i) => i !== 3).map((i) => cosine(3, i))
    .sort((a, b) => b - a).slice(0, 5);
  found.forEach(({ cosine }, i) => assert.ok(Math.abs(cosine - best[i]) < 1e-5));
  assert.ok(found[0].cosine > 1 - 1e-5, "a code of the same concept has the same subgraph");
  const across = nearestCodes(table, 3, { otherSystems: true });
  assert.ok(across.every(({ place }) => table.codes[place].system !== table.codes[3].system));
  const drawn = neighbourGraph(table, [...table.codes.keys()].slice(0, 40), (place) => table.codes[place].system);
  assert.equal(drawn.order, 40);
  assert.ok(drawn.size >= 60 && drawn.size <= 120);
  const first = nearestCodes(table, 0).find(({ place }) => place < 40);
  if (first) assert.ok(drawn.hasEdge(table.nameOf(0), first.code));
  assert.ok(nearestCodes(table, 3, { system: "C" }).every(({ code }) => code.startsWith("C:")));
  assert.match(await plain(found), /5 rows x 3 columns/);
  assert.throws(() => nearestCodes(table, 1e6), /there is no code 1000000 in the table/);
  assert.throws(() => nearestCodes(table, new Float32Array(3)), /the vector of 4 slots has 256 numbers, but it has 3/);
  assert.throws(() => slotVectors(table, ["nowhere" as "textShared"]), /the table has no slot nowhere/);
  tokenizer.dispose();
});

Deno.test("graph slots find codes of one concept before any training: their subgraphs are equal", async () => {
  const tokenizer = untrained();
  const table = await tokenizer.encodeBatch(world.codes, { show: false });
  assert.ok(pairAUC(table, concepts, { slots: ["graphSpecific"] }) > 0.99);
  const hits = crossSystemHits(table, "A", "B", (a, b) => concepts[a] === concepts[b], { slots: ["graphSpecific"] });
  assert.ok(hits.rate > 0.95 && hits.chance < 0.1, JSON.stringify(hits));
  assert.equal(tokenOverlap(table, 0, 0, "textSpecific"), 1);
  assert.throws(() => crossSystemHits(table, "A", "Z", () => true), /no code of the table is of the system Z/);
  assert.throws(() => pairAUC(table, concepts.map((_, i) => i)), /pairs of one concept and of two are needed/);

  const values = concepts.map((concept) => world.planted.concepts[concept].module);
  const report = leakReport(table, [{ name: "module", values }], concepts, { steps: 20 });
  assert.deepEqual(report.probes.map(({ slot }) => slot), [...table.slots]);
  assert.ok([report.matched!, report.unmatched!].every((cosine) => Math.abs(cosine) <= 1));
  assert.ok(report.overlap! >= 0 && report.overlap! <= 1);
  assert.match(await plain(report), /4 rows x 5 columns/);
  tokenizer.dispose();
});

Deno.test("a cohort that has one code more often has its tokens at the top", async () => {
  const tokenizer = untrained();
  const table = await tokenizer.encodeBatch(world.codes.slice(0, 60), { show: false });
  const draw = random(1, "cohort");
  const patients = Array.from({ length: 200 }, (_, i) => {
    const own = Array.from({ length: 5 }, () => draw.integer(60));
    return i % 4 === 0 ? [...own, 17, 17, 17] : own;
  });
  const report = cohortReport(table, patients, patients.map((_, i) => i % 4 === 0));
  assert.ok(table.at(17).tokens.includes(report[0].token));
  assert.equal(report[0].codes[0], table.nameOf(17));
  assert.ok(report[0].z > 5 && report.at(-1)!.logOdds < 0);
  assert.throws(() => cohortReport(table, patients, [true]), /there are 200 patients, but 1 labels/);

  const health = usage(table);
  assert.equal(health.used, invertedIndex(table).tokens.length);
  assert.match(await plain(health), /3 rows x 5 columns/);
  const map = tokenMap(table, (place) => table.codes[place].system);
  assert.match(map.alt, /60 codes in the plane of two principal components.*groups: A/);
  assert.deepEqual(Object.values(tokenChurn(table, table)), [0, 0, 0, 0]);
  tokenizer.dispose();
});

Deno.test("a linear probe finds what is there on groups that it has not seen, and nothing where nothing is", () => {
  const draw = random(2, "probe");
  const labels = Array.from({ length: 300 }, (_, i) => i % 3);
  const groups = labels.map((_, i) => Math.floor(i / 3));
  const noise = draw.normals(300 * 4);
  const there = noise.map((value, at) => value + (at % 4 === labels[Math.floor(at / 4)] ? 6 : 0));
  assert.ok(probe(there, labels, groups).accuracy > 0.95);
  assert.ok(probe(noise, labels, groups).accuracy < 0.5);
});

Deno.test("singular vectors are those of a matrix that is known", () => {
  const draw = random(6, "svd");
  const [rows, columns] = [40, 12];
  const dense = Array.from({ length: rows }, () => Array.from(draw.normals(columns)));
  const matrix = {
    rows,
    columns,
    offsets: Int32Array.from({ length: rows + 1 }, (_, i) => i * columns),
    column: Int32Array.from({ length: rows * columns }, (_, at) => at % columns),
    value: Float32Array.from(dense.flat()),
  };
  const { right, singular, explained } = truncatedSVD(matrix, columns);
  assert.ok(Math.abs(explained - 1) < 1e-5);
  for (let k = 0; k < columns; k++) {
    // A v has the length of its singular value, and the v are orthonormal
    const image = dense.map((row) => row.reduce((sum, value, j) => sum + value * right[j * columns + k], 0));
    assert.ok(Math.abs(Math.hypot(...image) - singular[k]) < 1e-4 * singular[0]);
    assert.ok(k === 0 || singular[k] <= singular[k - 1]);
    for (let l = 0; l <= k; l++) {
      let inner = 0;
      for (let j = 0; j < columns; j++) inner += right[j * columns + k] * right[j * columns + l];
      assert.ok(Math.abs(inner - Number(k === l)) < 1e-4);
    }
  }
  assert.throws(() => truncatedSVD(matrix, 13), /from 1 to 12, the columns, but it is 13/);
});

Deno.test("a stream of codes is written in parts, in order, and goes on where it was stopped", async () => {
  const tokenizer = untrained();
  const codes = world.codes.slice(0, 230);
  const whole = await tokenizer.encodeBatch(codes, { show: false });
  const folder = await Deno.makeTempDir();
  try {
    const interrupted = function* () {
      yield* codes.slice(0, 130);
      throw new Error("the source broke");
    };
    await assert.rejects(encodeStream(tokenizer, interrupted(), folder, { part: 50 }), /the source broke/);
    await assert.rejects(readEncoded(folder, tokenizer).next(), /is not finished: it has no index\.json/);
    assert.deepEqual(await encodeStream(tokenizer, codes, folder, { part: 50 }), { codes: 230, parts: 5, skipped: 2 });
    let at = 0;
    for await (const part of readEncoded(folder, tokenizer)) {
      for (let place = 0; place < part.size; place++, at++) {
        assert.equal(part.nameOf(place), whole.nameOf(at));
        assert.deepEqual(part.at(place), whole.at(at));
      }
    }
    assert.equal(at, 230);
    await assert.rejects(
      encodeStream(tokenizer, codes, folder, { part: 60 }),
      /holds parts of another tokenizer or another/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
    tokenizer.dispose();
  }
});
