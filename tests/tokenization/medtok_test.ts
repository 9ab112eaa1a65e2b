import assert from "node:assert/strict";
import { randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { attention, countParameters, initialise } from "../../lib/nn/mod.ts";
import {
  batchOf,
  crossAttend,
  type Encoded,
  encodeModalities,
  gcnConv,
  infoNCE,
  klAlignment,
  type MedTokBatch,
  type MedTokConfig,
  medtokConfig,
  medtokLayers,
  medtokLosses,
  type MedTokOutput,
  type MedTokParameters,
  normaliseEdges,
  orthogonality,
  type PlantedWorld,
  plantedWorld,
  quantize,
  quantizeModalities,
  type Slot,
  slotRegions,
  slots,
  wordVectors,
} from "../../lib/tokenization/mod.ts";
import { random } from "../../lib/random.ts";
import { assertClose } from "../golden/cases.ts";
import { quantiserInputs, wave } from "./waves.ts";

/** The configuration of the golden vectors, with either reading of the shared slots. */
function smallConfig(sharedRows: "middle" | "all", klWeight: number): MedTokConfig {
  return medtokConfig("repo", { N: 9, K: 2, d: 4, heads: 2, sharedRows, klWeight });
}

type Inputs = ReturnType<typeof quantiserInputs>;

/** Projectors are the identity here, so that embeddings are given directly. */
function lossesOf(inputs: Inputs, config: MedTokConfig) {
  const regions = slotRegions(config.N, config.sharedRows);
  const choose = (slot: Slot, embedding: tf.Tensor2D) =>
    quantize(embedding, inputs.codebook, { region: regions[slot], K: config.K });
  const output: MedTokOutput = {
    embeddings: inputs,
    slots: Object.fromEntries(slots.map((slot) => [slot, choose(slot, inputs[slot])])),
    augmented: {
      textSpecific: choose("textSpecific", inputs.textAgain),
      graphSpecific: choose("graphSpecific", inputs.graphAgain),
    },
  };
  const unused = { x: tf.zeros<tf.Rank.R3>([3, 1, 4]), mask: tf.ones<tf.Rank.R2>([3, 1]) };
  const encoded: Encoded = {
    features: { text: inputs.textSpecific, graph: inputs.graphSpecific },
    augmented: { text: inputs.textAgain, graph: inputs.graphAgain },
    text: unused,
    graph: unused,
  };
  return medtokLosses(encoded, output, { codebook: { weight: inputs.codebook } } as MedTokParameters, config);
}

Deno.test("the losses have the golden values, and the total the golden gradients", () => {
  const golden = {
    middle: {
      L_C: 1.202454,
      shared: 4.190210 + 0.907098,
      specific: 0.008244 + 0.334529,
      overlap: 1.527425 + 1.134611,
      kl: 0.476825,
      total: 7.236543,
      norms: [.315215, .197929, .556852, 11.186003, 7.838686],
      codebookRow: [.029193, -.025250, .008023, .056560],
      textRow: [.027075, .032388, -.038783, -.108370],
    },
    all: {
      L_C: 1.119340,
      shared: 5.238377 + 1.902907,
      specific: 0.000569 + 0.363452,
      overlap: 1.958113 + 1.056990,
      kl: 0.486850,
      total: 9.263986,
      norms: [.272559, .216216, .434367, 12.681712, 6.366587],
      codebookRow: [-.018501, -.015417, .020710, .013889],
      textRow: [.035590, .043190, -.033869, -.113063],
    },
  };
  for (const rows of ["middle", "all"] as const) {
    const expected = golden[rows];
    const inputs = quantiserInputs();
    const value = lossesOf(inputs, smallConfig(rows, 1));
    const close = (name: string, actual: number, wanted: number) =>
      assertClose(actual, wanted, `${rows} ${name}`, 1e-5);
    close("L_C", value.codebook.arraySync() + value.commitment.arraySync(), expected.L_C);
    close("shared", value.shared.arraySync(), expected.shared);
    close("alignment", value.alignment.arraySync(), -2 * 0.1 * 0.745095);
    close("specific", value.specific.arraySync(), expected.specific);
    close("orthogonality", value.orthogonality.arraySync(), 0.1 * expected.overlap);
    close("kl", value.kl.arraySync(), expected.kl);
    close("total", value.total.arraySync(), expected.total);

    const names = ["codebook", "textSpecific", "graphSpecific", "textShared", "graphShared"] as const;
    const gradients = tf.grads((...tensors: tf.Tensor[]) =>
      lossesOf(
        { ...inputs, ...Object.fromEntries(names.map((name, i) => [name, tensors[i]])) } as Inputs,
        smallConfig(rows, 0),
      ).total
    )(names.map((name) => inputs[name]));
    assertClose(gradients.map((each) => each.norm().arraySync()), expected.norms, `${rows} norms`, 2e-5);
    assertClose((gradients[0].arraySync() as number[][])[0], expected.codebookRow, `${rows} codebook row 0`, 2e-5);
    assertClose((gradients[1].arraySync() as number[][])[0], expected.textRow, `${rows} e_s^t row 0`, 2e-5);
  }
});

Deno.test("autodiff agrees with finite differences of a plain double-precision loss, assignments and cuts held fixed", () => {
  const inputs = quantiserInputs();
  const names = ["codebook", "textSpecific", "graphSpecific", "textShared", "graphShared"] as const;
  const config = smallConfig("middle", 1);
  const gradients = tf.grads((...tensors: tf.Tensor[]) =>
    lossesOf({ ...inputs, ...Object.fromEntries(names.map((name, i) => [name, tensors[i]])) } as Inputs, config).total
  )(names.map((name) => inputs[name]));
  const plain = plainLoss(Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, x.arraySync()])));
  assertClose(plain({}), lossesOf(inputs, config).total.arraySync(), "value", 1e-5);
  const step = 1e-5;
  for (const [k, name] of names.entries()) {
    const gradient = gradients[k].arraySync() as number[][];
    const size = Math.max(...gradient.flat().map(Math.abs));
    const values = inputs[name].arraySync();
    values.forEach((row, i) =>
      row.forEach((value, j) => {
        const moved = (by: number) => values.map((r, a) => r.map((v, b) => a === i && b === j ? value + by : v));
        const slope = (plain({ [name]: moved(step) }) - plain({ [name]: moved(-step) })) / (2 * step);
        assert.ok(Math.abs(slope - gradient[i][j]) <= 1e-3 * size, `${name}[${i}][${j}]: ${slope}, ${gradient[i][j]}`);
      })
    );
  }
});

/** The paper preset's total in plain numbers; what the library cuts out of the gradient stays at its first value. */
function plainLoss(first: Record<string, number[][]>): (changes: Record<string, number[][]>) => number {
  const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const unit = (a: number[]) => a.map((value) => value / Math.sqrt(dot(a, a)));
  const softmax = (a: number[]) => {
    const e = a.map(Math.exp);
    return e.map((value) => value / e.reduce((x, y) => x + y));
  };
  const regions: Record<string, [number, number]> = {
    textSpecific: [0, 3],
    graphSpecific: [6, 9],
    textShared: [3, 6],
    graphShared: [3, 6],
    textAgain: [0, 3],
    graphAgain: [6, 9],
  };
  const chosen = Object.fromEntries(
    Object.entries(regions).map(([name, [from, to]]) => [
      name,
      first[name].map((e) =>
        Array.from({ length: to - from }, (_, i) => from + i)
          .sort((a, b) => dot(unit(e), unit(first.codebook[b])) - dot(unit(e), unit(first.codebook[a]))).slice(0, 2)
      ),
    ]),
  );
  const soft = (name: string, values: Record<string, number[][]>) =>
    values[name].map((e, i) => {
      const words = chosen[name][i].map((row) => unit(values.codebook[row]));
      const weights = softmax(words.map((word) => -(2 - 2 * dot(unit(e), word))));
      return e.map((_, j) => words.reduce((sum, word, k) => sum + weights[k] * word[j], 0));
    });
  const fixed = Object.fromEntries(Object.keys(regions).map((name) => [name, soft(name, first)]));
  const nce = (a: number[][], b: number[][]) =>
    a.reduce((sum, row, i) => sum - Math.log(softmax(b.map((other) => dot(unit(row), unit(other)) / 0.07))[i]), 0) /
    a.length;
  const frobenius = (P: number[][], Q: number[][]) =>
    Math.sqrt(
      P[0].reduce((sum, _, i) =>
        sum + Q[0].reduce((inner, _, j) => inner + P.reduce((s, row, b) => s + row[i] * Q[b][j], 0) ** 2, 0), 0),
    );
  const beside = (a: number[][], b: number[][]) => a.map((row, i) => [...row, ...b[i]]);
  return (changes) => {
    const values = { ...first, ...changes };
    const out = Object.fromEntries(
      Object.keys(regions).map((name) => [
        name,
        values[name].map((row, i) => row.map((value, j) => value + fixed[name][i][j] - first[name][i][j])),
      ]),
    );
    let total = 0;
    for (const name of ["textSpecific", "graphSpecific", "textShared", "graphShared"]) {
      const q = soft(name, values);
      q.forEach((row, i) =>
        row.forEach((value, j) => {
          total += ((value - first[name][i][j]) ** 2 + 0.25 * (fixed[name][i][j] - values[name][i][j]) ** 2) / 12;
        })
      );
    }
    total += nce(out.textShared, out.graphShared) + nce(out.graphShared, out.textShared);
    const features = [values.textSpecific, values.graphSpecific];
    total -= 0.2 * features[0].reduce((sum, row, i) => sum + dot(unit(row), unit(features[1][i])), 0) / 3;
    total += nce(beside(out.textSpecific, out.graphShared), beside(out.textAgain, out.graphShared));
    total += nce(beside(out.graphSpecific, out.textShared), beside(out.graphAgain, out.textShared));
    total += 0.1 * (frobenius(out.textSpecific, out.textShared) + frobenius(out.graphSpecific, out.graphShared));
    const over = (e: number[]) => softmax([3, 4, 5].map((row) => 2 * dot(unit(e), unit(values.codebook[row]))));
    return total + values.textShared.reduce((sum, e, i) => {
          const [p, q] = [over(e), over(values.graphShared[i])];
          return sum + p.reduce((s, value, k) => s + value * Math.log(value / q[k]), 0);
        }, 0) / 3;
  };
}

Deno.test("InfoNCE: 0 for one row, ln B for equal rows, ln(1 + (B - 1) e^(-1/τ)) for orthogonal ones, never negative", () => {
  const value = (a: tf.Tensor2D, b = a, options = {}) => infoNCE(a, b, options).arraySync();
  assert.equal(value(tf.tensor2d([[3, 4]])), 0);
  assertClose(value(tf.ones([8, 3])), Math.log(8), "equal rows", 1e-5);
  const orthogonal = (tau: number) => value(tf.eye(5), tf.eye(5), { temperature: tau });
  for (const tau of [0.07, 0.5, 1]) {
    assertClose(orthogonal(tau), Math.log(1 + 4 * Math.exp(-1 / tau)), `orthogonal at ${tau}`, 1e-5);
  }
  for (let seed = 0; seed < 20; seed++) {
    const rows = tf.tensor2d(random(seed, "nce").normals(60), [12, 5]);
    assert.ok(value(rows, rows.reverse(0)) >= 0);
    const twoGroups = value(rows, rows.mul(2), { group: 6 });
    const halves = [0, 6].map((at) => value(rows.slice([at, 0], [6, 5])));
    assertClose(twoGroups, (halves[0] + halves[1]) / 2, "groups", 1e-5);
  }
  assert.throws(() => value(tf.ones([5, 2]), tf.ones([5, 2]), { group: 2 }), /no whole number of groups of 2/);
  // rows that are the same thing do not count against each other
  const same = tf.tensor1d([0, 0, 1], "int32");
  assertClose(value(tf.tensor2d([[1, 0], [1, 0], [0, 1]]), undefined, { same }), 0, "masked", 1e-5);
});

Deno.test("orthogonality scales with both sides, and is 0 where what the batch spans is orthogonal", () => {
  const draw = random(4, "orthogonality");
  const P = tf.tensor2d(draw.normals(24), [6, 4]), Q = tf.tensor2d(draw.normals(24), [6, 4]);
  const plain = orthogonality(P, Q).arraySync();
  assertClose(orthogonality(P.mul(3), Q.mul(0.5)).arraySync(), 1.5 * plain, "scaled", 1e-5);
  const apart = orthogonality(tf.tensor2d([[1, 2], [0, 0]]), tf.tensor2d([[0, 0], [3, 4]])).arraySync();
  assert.ok(apart < 1e-6);
});

Deno.test("KL alignment is not negative, and 0 where both have equal distances to every codeword", () => {
  const draw = random(5, "kl");
  const codebook = tf.tensor2d(draw.normals(60), [20, 3]);
  for (let round = 0; round < 10; round++) {
    const [a, b] = [0, 1].map(() => tf.tensor2d(draw.normals(15), [5, 3]));
    assert.ok(klAlignment(a, b, codebook).arraySync() > 1e-4);
    assertClose(klAlignment(a, a.mul(3), codebook).arraySync(), 0, "the same direction", 1e-6);
    assertClose(klAlignment(a, b, codebook, undefined, 1e6).arraySync(), 0, "a high temperature", 1e-6);
  }
});

Deno.test("a graph convolution has the golden rows; parallel edges add up; numbering does not matter", () => {
  const X = wave(4, 3, 0.7, 1.1, 0.2);
  const weight = wave(3, 2, 0.5, 1.3, 0.4).transpose<tf.Tensor2D>();
  const path = [[0, 1, 1, 2], [1, 0, 2, 1]];
  const y = gcnConv(X, normaliseEdges(4, path[0], path[1]), { weight }).arraySync();
  assertClose(y, [[1.180938, 1.256874], [1.013660, 1.465215], [.492585, 1.162151], [-.873088, .115109]], "rows", 1e-5);

  const twice = normaliseEdges(2, [0, 0, 1, 1], [1, 1, 0, 0]);
  const weighted = normaliseEdges(2, [0, 1], [1, 0], [2, 2]);
  const two = X.slice([0, 0], [2, 3]);
  assertClose(gcnConv(two, twice, { weight }).arraySync(), gcnConv(two, weighted, { weight }).arraySync(), "parallel");

  const order = [2, 0, 3, 1]; // new place of each node
  const moved = gcnConv(
    tf.gather(X, tf.tensor1d([1, 3, 0, 2], "int32")),
    normaliseEdges(4, path[0].map((node) => order[node]), path[1].map((node) => order[node])),
    { weight },
  ).arraySync();
  order.forEach((place, node) => assertClose(moved[place], y[node], `node ${node}`, 1e-5));
});

Deno.test("cross-attention has the golden rows in the code's form and in the paper's", () => {
  const text = wave(2, 4, 0.9, 0.6, 0.1).expandDims<tf.Tensor3D>(0);
  const graph = wave(3, 4, 1.2, 0.8, 0.3).expandDims<tf.Tensor3D>(0);
  const [q, k, v, o] = [[.3, .7, .1], [.4, .5, .2], [.6, .2, .3], [.2, .9, .4]].map(([a, b, c]) => wave(4, 4, a, b, c));
  const paper = attention(text, {
    q: { weight: q },
    k: { weight: k },
    v: { weight: v },
    proj: { weight: tf.eye(4) },
  }, { heads: 1, context: graph }).x;
  assertClose(
    paper.arraySync()[0],
    [
      [1.449999, 2.353187, 2.434339, 1.665106],
      [1.451316, 2.354750, 2.435602, 1.665627],
    ],
    "paper",
    1e-5,
  );

  const layer = {
    attn: { qkv: { weight: tf.concat([q, k, v]) }, proj: { weight: o } },
    norm: { weight: tf.ones<tf.Rank.R1>([4]), bias: tf.zeros<tf.Rank.R1>([4]) },
  };
  const both = crossAttend(
    { x: text, mask: tf.ones([1, 2]) },
    { x: graph, mask: tf.ones([1, 3]) },
    [layer, layer],
    { heads: 2 },
  );
  assertClose(both.text.arraySync()[0], [.577710, .894091, .208486, -1.680288], "text", 1e-5);
  assertClose(both.graph.arraySync()[0], [1.118416, .634202, -.278946, -1.473672], "graph", 1e-5);
  const one = crossAttend({ x: text, mask: tf.ones([1, 2]) }, { x: graph, mask: tf.ones([1, 3]) }, [layer], {
    heads: 2,
  });
  assertClose(one.text.arraySync()[0], [.099241, 1.006988, .534034, -1.640263], "text after one layer", 1e-5);
});

Deno.test("MedTok has 9,771,648 trainable parameters at the code's defaults", () => {
  assert.equal(countParameters(medtokLayers(medtokConfig("repo"))), 9_771_648);
  const { nodes, gcn, textMapped, textProjector, crossAttention, codebook } = medtokLayers(medtokConfig("repo"));
  assert.equal(countParameters(nodes), 8_320_000);
  assert.deepEqual(gcn.map((layer) => countParameters(layer)), [8_320, 8_256]);
  assert.equal(countParameters(textMapped), 49_216);
  assert.equal(countParameters(textProjector), 4_160);
  assert.deepEqual(crossAttention.map((layer) => countParameters(layer)), [16_768, 16_768]);
  assert.equal(countParameters(codebook), 1_344_000);
});

/** A small world with an untrained model. */
function smallModel(changes: Partial<MedTokConfig> = {}): {
  world: PlantedWorld;
  config: MedTokConfig;
  parameters: MedTokParameters;
  batch(indices: readonly number[], shape?: Partial<MedTokConfig>): MedTokBatch;
} {
  const world = plantedWorld({ seed: 1, concepts: 40 });
  const config = medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2, ...changes });
  const parameters = initialise(medtokLayers(config), random(1)) as MedTokParameters;
  const encoder = wordVectors({ dim: config.textDim });
  return {
    world,
    config,
    parameters,
    batch: (indices, shape = {}) => batchOf(indices.map((i) => world.codes[i]), encoder, { ...config, ...shape }),
  };
}

const sharedOf = (batch: MedTokBatch, parameters: MedTokParameters, config: MedTokConfig) =>
  tidy(() => {
    const { embeddings } = quantizeModalities(encodeModalities(batch, parameters, config), parameters, config);
    return Object.fromEntries(Object.entries(embeddings).map(([slot, x]) => [slot, x!.arraySync()]));
  });

Deno.test("a padded batch is the same as one code at a time, more padding changes nothing, nor the order of nodes", () => {
  const { world, config, parameters, batch } = smallModel();
  const indices = [0, 17, 60, 200, 300];
  const together = sharedOf(batch(indices), parameters, config);
  const wide = sharedOf(batch(indices, { maxNodes: 40, textLength: 13 }), parameters, config);
  for (const slot of slots) {
    assertClose(wide[slot], together[slot], `${slot}, more padding`, 1e-6);
    indices.forEach((index, i) =>
      assertClose(sharedOf(batch([index]), parameters, config)[slot][0], together[slot][i], `${slot}, alone`, 1e-5)
    );
  }
  const code = world.codes[17];
  const size = code.nodes.length;
  const turned = {
    ...code,
    nodes: code.nodes.map((_, i) => code.nodes[size - 1 - i]),
    edges: code.edges.map((place) => size - 1 - place),
  };
  const encoder = wordVectors({ dim: config.textDim });
  const backwards = sharedOf(batchOf([turned], encoder, config), parameters, config);
  for (const slot of slots) assertClose(backwards[slot][0], together[slot][1], `${slot}, nodes turned round`, 1e-5);
});

Deno.test("without a key nothing is drawn: two passes are equal; with one, two passes differ and there are two views", () => {
  const { world, config, parameters } = smallModel();
  const encoder = wordVectors({ dim: config.textDim });
  const batch = batchOf(world.codes.slice(0, 6), encoder, config, { augment: random(1, "edges") });
  const features = (key?: tf.Tensor1D) => encodeModalities(batch, parameters, config, key);
  assert.deepEqual(features().features.text.arraySync(), features().features.text.arraySync());
  assert.equal(features().augmented, undefined);
  const [one, two, again] = [randomKey(1), randomKey(2), randomKey(1)].map(features);
  assert.notDeepEqual(one.features.text.arraySync(), two.features.text.arraySync());
  assert.deepEqual(one.features.text.arraySync(), again.features.text.arraySync());
  assert.notDeepEqual(one.features.text.arraySync(), one.augmented!.text.arraySync());
  assert.notDeepEqual(one.features.graph.arraySync(), one.augmented!.graph.arraySync());
});

Deno.test("specific tokens depend on their own modality alone, and a code without a graph has the mean 0", () => {
  const { world, config, parameters } = smallModel();
  const encoder = wordVectors({ dim: config.textDim });
  const [a, b] = [world.codes[0], world.codes[100]];
  const swapped = { ...a, description: b.description };
  const bare = { ...a, nodes: new Int32Array(), edges: new Int32Array() };
  const batch = batchOf([a, b, swapped, bare], encoder, config);
  const { slots } = quantizeModalities(encodeModalities(batch, parameters, config), parameters, config);
  const text = slots.textSpecific!.tokens.arraySync(), graph = slots.graphSpecific!.tokens.arraySync();
  assert.deepEqual(text[2], text[1], "the text of b");
  assert.deepEqual(graph[2], graph[0], "the graph of a");
  assert.deepEqual(text[3], text[0], "the text of a");
  assert.notDeepEqual(text[0], text[1]);
  assert.notDeepEqual(graph[0], graph[1]);
  const { features, graph: nodes } = encodeModalities(batch, parameters, config);
  assert.equal(features.graph.abs().max(1).dataSync()[3], 0);
  assert.equal(nodes.mask.sum(1).dataSync()[3], 1, "one node to look at");
});

Deno.test("ablations: one modality alone has one slot; without cross-attention nothing of the other side is read", () => {
  for (const modality of ["text", "graph"] as const) {
    const { config, parameters, batch } = smallModel({ modality });
    const output = quantizeModalities(encodeModalities(batch([0, 1]), parameters, config), parameters, config);
    assert.deepEqual(Object.keys(output.slots), [`${modality}Specific`]);
  }
  const { world, config, parameters } = smallModel();
  const encoder = wordVectors({ dim: config.textDim });
  const [a, b] = [world.codes[0], world.codes[100]];
  const batch = batchOf([a, { ...a, description: b.description }], encoder, config);
  const change = (crossAttention: MedTokConfig["crossAttention"]) => {
    const { graphShared } = sharedOf(batch, parameters, { ...config, crossAttention });
    return JSON.stringify(graphShared[0]) !== JSON.stringify(graphShared[1]);
  };
  assert.deepEqual((["both", "graph", "text", "none"] as const).map(change), [true, true, false, false]);
});

Deno.test("what is wrong with a code or a configuration is one sentence", () => {
  const { world, config } = smallModel();
  const encoder = wordVectors({ dim: config.textDim });
  const [code] = world.codes;
  const make = (changes: object, shape: Partial<MedTokConfig> = {}) => () =>
    batchOf([{ ...code, ...changes }], encoder, { ...config, ...shape });
  assert.throws(make({ description: " " }), {
    name: "RangeError",
    message: `the description of A:${code.code} is empty; give it a text, or leave the code out`,
  });
  assert.throws(
    make({ nodes: Int32Array.of(99_999), edges: new Int32Array() }),
    /has the node 99999, which is not in the/,
  );
  assert.throws(make({}, { maxNodes: 2 }), /has \d+ nodes, but maxNodes is 2; take a smaller subgraph/);
  assert.throws(make({}, { textDim: 5 }), /the text encoder has 96 channels, but textDim is 5/);
  assert.throws(() => medtokConfig("big" as "lite"), /no preset named "big"; choose one of paper, repo, lite/);
  assert.throws(() => medtokConfig("lite", { K: 121 }), /K must be a whole number from 1 to 120, the rows of a region/);
  assert.throws(() => medtokConfig("lite", { heads: 5 }), /heads must divide d, but 64 \/ 5 is not whole/);
  assert.throws(() => medtokConfig("lite", { batch: 300 }), /a batch of 300 is no whole number of groups of 256/);
  assert.throws(() => medtokConfig("lite", { colour: 1 } as object), /a MedTok has no setting colour/);
});
