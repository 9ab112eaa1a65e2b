/**
 * How the golden cases of models of health records, of their tokenizers and of scikit-learn's scores are computed here.
 *
 * @module
 */
import {
  ageRow,
  ageRows,
  behrtEncode,
  behrtGuess,
  behrtLayers,
  behrtPool,
  rowsOf,
  sinusoid,
  visitPlaces,
} from "../../experiments/ehr/models/behrt.ts";
import {
  encodeVisits,
  graphLayer,
  graphTransformerOverEdges,
  gtBEHRTLayers,
  normOverNodes,
  visitEmbeddings,
} from "../../experiments/ehr/models/gt_behrt.ts";
import {
  ageToken,
  decileEdges,
  decileOf,
  ethosLayers,
  ethosStates,
  intervals,
  nextTokenLoss,
  TIMELINE_END,
  withIntervals,
} from "../../experiments/ehr/models/ethos.ts";
import { type GraphSchema, hgt, hgtLayer, klDivergence } from "../../experiments/ehr/models/mult_ehr.ts";
import {
  transformEHRClassify,
  type TransformEHRConfig,
  transformEHRDecode,
  transformEHREncode,
  transformEHRLayers,
} from "../../experiments/ehr/models/transformehr.ts";
import {
  type EMACodebook,
  normalisedAdjacency,
  quantizeEMA,
  vqgraphLayers,
  vqgraphTeacher,
} from "../../experiments/ehr/models/vqgraph.ts";
import { binaryCrossEntropy, maskedCrossEntropy } from "../../experiments/ehr/model.ts";
import type { NumericArray } from "../../lib/data/mod.ts";
import {
  type Described,
  embeddingLayer,
  gelu,
  linear,
  linearLayer,
  loadParameters,
  type NameMap,
  parameter,
} from "../../lib/nn/mod.ts";
import { columnScores } from "../../lib/stats.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { assertClose } from "./cases.ts";
import { type Family, number } from "./model_cases.ts";

export const ehrFamilies: Readonly<Record<string, Family>> = {
  "behrt.forward": ({ params, inputs, outputs }) => {
    const features = (params.features ?? {}) as { word?: boolean; seg?: boolean; age?: boolean; position?: boolean };
    const labels = typeof params.num_labels === "number" ? params.num_labels : undefined;
    const [width, vocabulary] = [number(params.hidden_size), number(params.vocab_size)];
    const config = {
      width,
      layers: number(params.layers),
      heads: number(params.heads),
      mlpWidth: number(params.intermediate),
      ages: number(params.age_vocab_size),
      positions: number(params.max_position),
      outputs: labels ?? 1,
      dropout: 0,
      features: { age: features.age !== false, segment: features.seg !== false, position: features.position !== false },
    };
    const { head, guess, position, ...body } = behrtLayers(config);
    const wanted = {
      ...body,
      word: embeddingLayer(vocabulary, width),
      ...(config.features.position ? { position } : {}),
      ...(labels ? { head } : { guess, bias: parameter<tf.Rank.R1>([vocabulary]) }),
    };
    const p = loadParameters(wanted, arraysOf(inputs.weights), { names: behrtNames }) as unknown as Described<
      ReturnType<typeof behrtLayers> & { word: { weight: tf.Tensor2D }; bias: tf.Tensor1D }
    >;
    const ids = (name: string) => matrix(inputs[name], "int32");
    const { embedding, states } = behrtEncode(
      rowsOf(p.word.weight, ids("word")),
      { age: ids("age"), segment: ids("segment"), position: ids("position"), mask: matrix(inputs.attention_mask) },
      p,
      config,
    );
    assertClose(embedding.arraySync(), outputs.embedding, "embedding");
    const pooled = behrtPool(states, p);
    if (labels) {
      const logits = linear(pooled, p.head);
      assertClose(logits.arraySync(), outputs.logits, "logits");
      return assertClose(softMargin(logits, matrix(inputs.labels)).arraySync(), outputs.loss, "loss");
    }
    assertClose(states.arraySync(), outputs.last_layer, "last_layer");
    assertClose(pooled.arraySync(), outputs.pooled, "pooled");
    const logits = behrtGuess(states, p.word.weight, p.guess, p.bias);
    assertClose(logits.arraySync(), outputs.logits, "logits");
    assertClose(maskedCrossEntropy(logits, ids("labels")).arraySync(), outputs.loss, "loss");
  },
  "behrt.position_table": ({ params, outputs }) => {
    const [rows, dim] = [number(params.rows), number(params.dim)];
    assertClose(tf.tensor2d(sinusoid(rows, dim), [rows, dim]).arraySync(), outputs.intended, "intended");
  },
  "gt_behrt.transformer_conv": ({ params, inputs, outputs }) => {
    const x = matrix(inputs.x);
    const p = loadParameters(graphLayer(x.shape[1], number(params.heads)), arraysOf(inputs.weights), {
      names: graphLayerNames,
    });
    const graph = inputs.batch === undefined ? undefined : tf.tensor1d(inputs.batch as number[], "int32");
    const graphs = graph ? Math.max(...inputs.batch as number[]) + 1 : 1;
    const [source, target] = (inputs.edge_index as number[][]).map((row) => tf.tensor1d(row, "int32"));
    const options = { heads: number(params.heads), join: params.concat === true };
    const norms = [normOverNodes(graph, graphs), normOverNodes()] as const; // the second one never gets the graphs
    const result = graphTransformerOverEdges(x, source, target, matrix(inputs.edge_attr), p, options, norms);
    assertClose(result.x.arraySync(), outputs.output, "output");
    assertClose(result.attention.arraySync(), outputs.attention, "attention");
  },
  "gt_behrt.forward": ({ params, inputs, outputs }) => {
    const part = number(params.width);
    const { head, ...described } = gtBEHRTLayers({
      part,
      layers: number(params.layers),
      heads: number(params.heads),
      mlpWidth: number(params.intermediate),
      ages: number(params.age_vocab_size),
      positions: number(params.max_position),
      visitTypes: 11,
      outputs: 1,
      dropout: 0,
    });
    const wanted = { ...described, head, word: embeddingLayer(number(params.vocab_size), part) };
    const flat = arraysOf(inputs.weights);
    const token = flat.get("bert.embeddings.cls_token")!;
    flat.set("bert.embeddings.cls_token", { ...token, shape: token.shape.slice(1) });
    const p = loadParameters(wanted, flat, { names: gtBEHRTNames });
    const ids = (name: string) => matrix(inputs[name], "int32");
    const vector = (values: unknown) => tf.tensor1d(values as number[], "int32");
    const [source, target] = (inputs.edge_index as number[][]).map(vector);
    const edges = tf.gather(p.edgeTypes.weight, vector(inputs.edge_type)) as tf.Tensor2D;
    let nodes = tf.gather(p.word.weight, vector(inputs.nodes)) as tf.Tensor2D;
    const whole = [normOverNodes(), normOverNodes()] as const;
    p.graph.forEach((layer, i) => {
      nodes = graphTransformerOverEdges(nodes, source, target, edges, layer, { heads: 2, join: i < 2 }, whole).x;
      if (i < 2) nodes = gelu(nodes);
    });
    const reading = (inputs.nodes as number[]).flatMap((code, node) => code === 0 ? [node] : []);
    const visits = tf.gather(nodes, tf.tensor1d(reading, "int32")) as tf.Tensor2D;
    assertClose(visits.arraySync(), outputs.visit_vectors, "visit_vectors");
    const [batch, count] = ids("age").shape;
    const features = { type: ids("type"), position: ids("position"), age: ids("age"), dayOfYear: ids("time") };
    const embeddings = visitEmbeddings(visits.reshape([batch, count, part]), features, p);
    assertClose(embeddings.arraySync(), outputs.embeddings, "embeddings");
    const options = { heads: number(params.heads), dropout: 0 };
    const states = encodeVisits(embeddings, matrix(inputs.attention_mask), p.blocks, options);
    const logits = linear(behrtPool(states, p), p.head);
    assertClose(logits.flatten().arraySync(), outputs.logits, "logits");
    const labels = tf.tensor2d(inputs.labels as number[], [batch, 1]);
    assertClose(binaryCrossEntropy(logits, labels).arraySync(), outputs.loss, "loss");
  },
  "transformehr.forward": ({ params, inputs, outputs }) => {
    const config: TransformEHRConfig = {
      width: number(params.d_model),
      layers: number(params.layers),
      heads: number(params.heads),
      mlpWidth: number(params.ffn),
      positions: number(params.max_position),
      offsets: number(params.visit_rows),
      outputs: number(params.num_labels),
      dropout: 0,
      pad: number(params.pad),
      sinusoids: params.static_position === true,
      scale: params.scale_embedding === true,
    };
    const { encoder, decoder, head } = transformEHRLayers(config);
    const without = <T extends { position: unknown }>({ position: _, ...rest }: T) => rest;
    const wanted = {
      encoder: config.sinusoids ? without(encoder) : encoder,
      decoder: config.sinusoids ? without(decoder) : decoder,
      head,
      word: embeddingLayer(number(params.vocab_size), config.width),
    };
    const p = loadParameters(wanted, arraysOf(inputs.weights), { names: transformEHRNames }) as Described<
      ReturnType<typeof transformEHRLayers> & { word: { weight: tf.Tensor2D } }
    >;
    const ids = (values: unknown) => matrix(values, "int32");
    const table = p.word.weight;
    const [read, offsets] = [ids(inputs.input_ids), ids(inputs.visit_ids)];
    const mask = matrix(inputs.attention_mask);
    const memory = transformEHREncode(rowsOf(table, read), mask, offsets, p.encoder, config);
    assertClose(memory.arraySync(), outputs.encoder, "encoder");
    const eos = number(params.eos), pad = number(params.pad);
    const shifted = (inputs.input_ids as number[][]).map((
      row,
    ) => [row.findLast((id) => id !== pad)!, ...row.slice(0, -1)]);
    if (outputs.decoder_input_ids) assertClose(shifted, outputs.decoder_input_ids, "decoder_input_ids");
    const written = ids(inputs.decoder_input_ids ?? shifted);
    const writtenMask = tf.notEqual(written, pad).cast("float32") as tf.Tensor2D;
    const states = transformEHRDecode(rowsOf(table, written), writtenMask, memory, mask, p.decoder, config);
    assertClose(states.arraySync(), outputs.decoder, "decoder");
    const logits = linear(states, { weight: table });
    assertClose(logits.arraySync(), outputs.logits, "logits");
    const labels = ids((inputs.labels as number[][]).map((row) => row.map((label) => Math.max(label, -1))));
    assertClose(maskedCrossEntropy(logits, labels).arraySync(), outputs.loss, "loss");
    if (!outputs.classification) return;
    const last = (inputs.input_ids as number[][]).map((row) => row.lastIndexOf(eos));
    const state = tf.stack(last.map((at, b) => states.slice([b, at, 0], [1, 1, -1]).flatten())) as tf.Tensor2D;
    assertClose(transformEHRClassify(state, p.head).arraySync(), outputs.classification, "classification");
  },
  "mult_ehr.hgt": ({ params, inputs, outputs }) => {
    const counts = params.nodes as Record<string, number>;
    const edges = inputs.edges as Record<string, [number[], number[]]>;
    const [inputWidth, width, heads] = [number(params.in_dim), number(params.hidden), number(params.heads)];
    const relations = Object.keys(edges).map((name) => {
      const [source, relation, target] = name.split("|");
      return { source, name: relation, target };
    });
    const schema: GraphSchema = { types: Object.keys(counts).toSorted(), relations };
    const norm = params.use_norm === true, causal = params.causal === true;
    const stack = () => Array.from({ length: number(params.layers) }, () => hgtLayer(schema, width, heads, { norm }));
    const weights = arraysOf(inputs.weights);
    const p = loadParameters({
      layers: stack(),
      rand_layers: causal ? stack() : [],
      adapt_ws: schema.types.map(() => linearLayer(inputWidth, width)),
      out: Object.fromEntries((params.tasks as string[]).map((task) => [
        task,
        linearLayer(width, weights.get(`out.${task}.weight`)!.shape[0]),
      ])),
    }, weights);
    // one list of nodes, type after type; keys and slots relation after relation
    const sizes = schema.types.map((type) => counts[type]);
    const before = (of: readonly number[], at: number) => of.slice(0, at).reduce((sum, size) => sum + size, 0);
    const places = Object.values(edges).map(([source, target], r) => {
      const at = schema.types.indexOf(relations[r].target);
      const sources = before(relations.map((relation) => counts[relation.source]), r);
      const slots = before(relations.map((relation) => counts[relation.target]), r);
      return {
        source: source.map((node) => sources + node),
        target: target.map((node) => before(sizes, at) + node),
        slot: target.map((node) => slots + node),
      };
    });
    const joined = (of: "source" | "target" | "slot") => tf.tensor1d(places.flatMap((place) => place[of]), "int32");
    const graph = { counts: sizes, source: joined("source"), target: joined("target"), slot: joined("slot") };
    const features = schema.types.map((type, t) =>
      gelu(linear(matrix((inputs.features as Record<string, number[][]>)[type]), p.adapt_ws[t]))
    );
    const run = (layers: typeof p.layers) => {
      let nodes = features;
      for (const layer of layers) nodes = hgt(nodes, schema, graph, layer, { heads });
      return nodes;
    };
    const states = run(p.layers);
    const expected = outputs.node_states as Record<string, number[][]>;
    schema.types.forEach((type, t) => assertClose(states[t].arraySync(), expected[type], `node_states.${type}`));
    const read = schema.types.indexOf(String(params.out_key));
    const noise = causal ? run(p.rand_layers) : undefined;
    for (const [task, of] of Object.entries(outputs.tasks as Record<string, Record<string, number[][]>>)) {
      assertClose(linear(states[read], p.out[task]).arraySync(), of.logits, `${task}: logits`);
      if (!noise) continue;
      assertClose(tf.concat(noise, 0).arraySync(), of.random_features, `${task}: random_features`);
      const sum = states[read].add<tf.Tensor2D>(noise[read]);
      assertClose(linear(sum, p.out[task]).arraySync(), of.intervened, `${task}: intervened`);
    }
  },
  "mult_ehr.kl_divergence": ({ inputs, outputs }) => {
    assertClose(klDivergence(matrix(inputs.p_logits), matrix(inputs.q_logits), "sum").arraySync(), outputs.kl, "kl");
  },
  "ethos.forward": ({ params, inputs, outputs }) => {
    const config = {
      width: number(params.width),
      layers: number(params.layers),
      heads: number(params.heads),
      mlpWidth: 4 * number(params.width),
      positions: number(params.block_size),
      dropout: 0,
      futures: 1,
    };
    const described = { ...ethosLayers(config), word: embeddingLayer(number(params.vocab_size), config.width) };
    const p = loadParameters(described, arraysOf(inputs.weights), { names: gptNames });
    const table = p.word.weight; // tied to the head
    const states = ethosStates(rowsOf(table, matrix(inputs.tokens, "int32")), p, config);
    const logits = linear(states, { weight: table });
    assertClose(logits.arraySync(), outputs.logits, "logits");
    assertClose(logits.slice([0, logits.shape[1] - 1, 0]).arraySync(), outputs.last_logits, "last_logits");
    const options = { context: number(params.context_length), parity: true };
    assertClose(nextTokenLoss(logits, matrix(inputs.targets, "int32"), options).arraySync(), outputs.loss, "loss");
  },
  "ethos.separators": ({ params, inputs, outputs }) => {
    const names = inputs.events as string[];
    const timeline = withIntervals((inputs.times_minutes as number[]).map((time, i) => ({ name: names[i], time })));
    const vocabulary = [...intervals.map(([name]) => name), TIMELINE_END, ...params.event_names as string[]];
    assertSame(vocabulary, outputs.vocabulary, "vocabulary");
    assertSame(timeline.map(({ name }) => name), outputs.names, "names");
    assertClose(timeline.map(({ name }) => vocabulary.indexOf(name)), outputs.tokens, "tokens");
    const year = 365.25 * 24 * 60;
    assertClose(timeline.map(({ time }) => time / year), outputs.times_years, "times_years", 1e-6);
  },
  "ethos.age_tokens": ({ inputs, outputs }) => {
    assertSame((inputs.ages as number[]).map(ageToken), outputs.tokens, "tokens");
  },
  "ethos.deciles": ({ inputs, outputs }) => {
    const edges = decileEdges(inputs.values as number[]);
    assertClose(edges, outputs.bins, "bins");
    const named = (values: unknown) => (values as number[]).map((value) => `_Q${1 + decileOf(value, edges)}`);
    assertSame(named(inputs.values), outputs.deciles, "deciles");
    assertSame(named(inputs.new_values), outputs.new_deciles, "new_deciles");
  },
  "behrt.age_vocab": ({ params, inputs, outputs }) => {
    const size = ageRows(number(params.max_age), number(params.mon));
    assertClose(size, outputs.size, "size");
    const ids = outputs.ids as Record<string, number>;
    for (const age of inputs.ages as string[]) assertClose(ageRow(Number(age)), ids[age], `age ${age}`);
    const { segment, position } = visitPlaces((inputs.tokens as string[]).map((token) => token === "SEP"));
    assertClose(segment, outputs.segment, "segment");
    assertClose(position, outputs.position, "position");
  },
  "vqgraph.quantizer": ({ params, inputs, outputs }) => {
    const book: EMACodebook = {
      codebook: matrix(inputs.codebook),
      clusterSize: tf.tensor1d(inputs.cluster_size as number[]),
      ...(inputs.embed_avg ? { sums: matrix(inputs.embed_avg) } : {}),
    };
    const options = {
      cosine: params.cosine === true,
      decay: number(params.decay),
      commitment: number(params.commitment),
    };
    const x = matrix(inputs.x);
    const { quantized, indices, similarity, loss, next } = quantizeEMA(x, book, options);
    assertClose(quantized.arraySync(), outputs.quantized, "quantized");
    assertClose(indices.arraySync(), outputs.indices, "indices");
    assertClose(similarity.arraySync(), outputs.similarity, "similarity");
    assertClose(loss.arraySync(), outputs.commit_loss, "commit_loss");
    assertClose(next.codebook.arraySync(), outputs.codebook_after, "codebook_after");
    assertClose(next.clusterSize.arraySync(), outputs.cluster_size_after, "cluster_size_after");
    const slope = tf.grad((x) => {
      const { quantized, loss } = quantizeEMA(x as tf.Tensor2D, book, options);
      return loss.add(quantized.mul(matrix(inputs.grad_out)).sum());
    });
    assertClose(slope(x).arraySync(), outputs.grad_x, "grad_x");
  },
  "vqgraph.gcn_teacher": ({ params, inputs, outputs }) => {
    const x = matrix(inputs.x);
    const layers = vqgraphLayers(number(params.in_dim), number(params.hidden), number(params.out_dim));
    // the graph layers' weights are stored [in, out]
    const weights = arraysOf(transposed(inputs.weights, /^graph_layer_\d\.weight$/));
    const [source, target] = inputs.edges as [number[], number[]];
    const book = {
      codebook: matrix(inputs.codebook),
      clusterSize: tf.zeros<tf.Rank.R1>([number(params.codebook_size)]),
    };
    const { h, hidden, logits, loss, tokens } = vqgraphTeacher(
      x,
      normalisedAdjacency(x.shape[0], source, target),
      loadParameters(layers, weights),
      book,
      { edge: number(params.lamb_edge), node: number(params.lamb_node) },
    );
    assertClose(h.arraySync(), outputs.h, "h");
    assertClose(tokens.quantized.arraySync(), outputs.quantized, "quantized");
    assertClose(hidden.arraySync(), outputs.hidden, "hidden");
    assertClose(logits.arraySync(), outputs.logits, "logits");
    assertClose(loss.arraySync(), outputs.loss, "loss");
    assertClose(tokens.next.codebook.arraySync(), outputs.codebook_after, "codebook_after");
  },
  "sklearn.ranking_and_f1": ({ params, inputs, outputs }) => {
    const rows = (values: unknown) => (values as (number | number[])[]).map((value) => [value].flat());
    const [labels, scores] = [rows(inputs.labels), rows(inputs.scores)];
    const ours = columnScores(labels, scores, { threshold: number(params.threshold), parity: true });
    const names = { average_precision: ours.auprc, auroc: ours.auroc, f1: ours.f1 };
    for (const [name, measure] of Object.entries(names)) {
      const expected = (suffix: string) => outputs[`${name}${suffix}`];
      if (expected("_per_column") === undefined) {
        assertNullable(measure.perColumn[0], expected(""), name);
        continue;
      }
      measure.perColumn.forEach((value, j) => {
        assertNullable(value, (expected("_per_column") as (number | null)[])[j], `${name} of column ${j}`);
      });
      for (const average of ["macro", "micro", "weighted"] as const) {
        assertNullable(measure[average], expected(`_${average}`), `${average} ${name}`);
      }
    }
    // F1 of both classes of one column, "no" being a class too
    if (outputs.f1_macro !== undefined && outputs.f1_per_column === undefined) {
      const both = columnScores(
        labels.map(([y]) => [y, 1 - y]),
        scores.map(([s]) => {
          const yes = Number(s >= number(params.threshold));
          return [yes, 1 - yes];
        }),
      );
      assertNullable(both.f1.macro, outputs.f1_macro, "f1_macro");
    }
  },
  "medtok.compute_metrics": ({ inputs, outputs }) => {
    const { auroc, auprc, f1 } = columnScores(inputs.label as number[][], inputs.logits as number[][], {
      threshold: 0.2, // the tutorial's, for several labels
      parity: true,
    });
    assertNullable(auroc.micro, outputs.auroc, "auroc");
    assertNullable(auprc.micro, outputs.auprc, "auprc");
    assertNullable(f1.weighted, outputs.f1, "f1");
  },
};

function assertSame(actual: readonly string[], expected: unknown, where: string): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new Error(`${where}: ${JSON.stringify(expected)} is expected, but it is ${JSON.stringify(actual)}`);
}

function assertNullable(actual: number | null, expected: unknown, where: string): void {
  if (expected === null || actual === null) {
    if (actual !== expected) throw new Error(`${where}: ${expected} is expected, but it is ${actual}`);
    return;
  }
  assertClose(actual, expected, where);
}

function matrix(values: unknown, dtype: "int32" | "float32" = "float32"): tf.Tensor2D {
  return tf.tensor2d(values as number[][], undefined, dtype);
}

/** Weights with some of the matrices turned over. */
function transposed(weights: unknown, which: RegExp): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(weights as Record<string, number[][]>).map(([name, values]) => [
      name,
      which.test(name) ? values[0].map((_, j) => values.map((row) => row[j])) : values,
    ]),
  );
}

/** A case's weights, as a file would hold them. */
function arraysOf(weights: unknown): Map<string, NumericArray> {
  return new Map(
    Object.entries(weights as Record<string, number[]>).map(([name, values]) => {
      const tensor = tf.tensor(values, undefined, "float32");
      return [name, { shape: tensor.shape, dtype: "float32", data: tensor.dataSync<"float32">() }];
    }),
  );
}

/** PyTorch's multi-label soft margin: the mean over rows and labels. */
function softMargin(logits: tf.Tensor2D, labels: tf.Tensor2D): tf.Tensor {
  return tf.softplus(logits.neg()).mul(labels).add(tf.softplus(logits).mul(tf.sub(1, labels))).mean();
}

/** Ours to pytorch_pretrained_bert's. */
const bertBlocks: NameMap = (name) => {
  const of = name.match(/^blocks\.(\d+)\.(.*)\.(weight|bias)$/);
  if (!of) return name;
  const [, layer, part, kind] = of;
  const at = (path: string) => `bert.encoder.layer.${layer}.${path}.${kind}`;
  if (part === "attn.qkv") return ["query", "key", "value"].map((each) => at(`attention.self.${each}`));
  return at(
    {
      "attn.proj": "attention.output.dense",
      "norm1": "attention.output.LayerNorm",
      "mlp.fc1": "intermediate.dense",
      "mlp.fc2": "output.dense",
      "norm2": "output.LayerNorm",
    }[part]!,
  );
};

const behrtNames: NameMap = (name) => {
  if (name.startsWith("blocks.")) return bertBlocks(name);
  const [first, ...rest] = name.split(".");
  const tail = rest.join(".");
  const embeddings: Record<string, string> = {
    word: "word_embeddings",
    age: "age_embeddings",
    segment: "segment_embeddings",
    position: "posi_embeddings",
    norm: "LayerNorm",
  };
  if (first in embeddings) return `bert.embeddings.${embeddings[first]}.${tail}`;
  if (first === "pooler") return `bert.pooler.dense.${tail}`;
  if (first === "head") return `classifier.${tail}`;
  if (first === "bias") return "cls.predictions.bias";
  return `cls.predictions.transform.${tail.replace(/^norm/, "LayerNorm")}`;
};

/** Ours to nanoGPT's. */
const gptNames: NameMap = (name) => {
  if (name === "word.weight") return "lm_head.weight";
  if (name === "position.weight") return "transformer.wpe.weight";
  return `transformer.${
    name.replace(/^blocks/, "h").replace("attn.qkv", "attn.c_attn").replace("attn.proj", "attn.c_proj")
      .replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj").replace(/norm(\d)/, "ln_$1").replace(
        /^norm/,
        "ln_f",
      )
  }`;
};

const graphLayerNames: NameMap = (name) =>
  name.replace(/^(key|query|value|edge)\./, "lin_$1.").replace(/^norm(\d)/, "layernorm$1");

const gtBEHRTNames: NameMap = (name) => {
  if (name.startsWith("blocks.")) return bertBlocks(name);
  const at = (path: string) => `bert.embeddings.${path}`;
  const layer = name.match(/^graph\.(\d)\.(.*)$/);
  if (layer) return at(`word_embeddings.conv.module_${2 * Number(layer[1])}.${graphLayerNames(layer[2])}`);
  const fixed: Record<string, string> = {
    "edgeTypes.weight": "word_embeddings.embed_ee.weight",
    "word.weight": "word_embeddings.embed.weight",
    "visitType.weight": "type_embeddings.weight",
    "frozen.age.weight": "age_embeddings.weight",
    "frozen.dayOfYear.weight": "time_embeddings.weight",
    "frozen.position.weight": "posi_embeddings.weight",
    "classToken": "cls_token",
  };
  if (name in fixed) return at(fixed[name]);
  if (name.startsWith("pooler")) return name.replace("pooler", "bert.pooler.dense");
  if (name.startsWith("head")) return name.replace("head", "classifier");
  return at(
    name.replace("join.norm", "seq_layers.0").replace("join.dense1", "seq_layers.2").replace(
      "join.dense2",
      "seq_layers.4",
    )
      .replace("join.last", "LayerNorm"),
  );
};

const transformEHRNames: NameMap = (name) => {
  if (name === "word.weight") return "shared.weight";
  if (name.startsWith("head.")) {
    return name.replace("head.dense", "classification_head.dense").replace("head.out", "classification_head.out_proj");
  }
  const of = name.match(/^(encoder|decoder)\.(?:blocks|layers)\.(\d+)\.(.*)\.(weight|bias)$/);
  if (!of) {
    return name.replace(".position.", ".embed_positions.").replace(".offset.", ".embed_visitids.")
      .replace(/\.norm\./, ".layernorm_embedding.");
  }
  const [, stack, layer, part, kind] = of;
  const at = (path: string) => `${stack}.layers.${layer}.${path}.${kind}`;
  if (part === "attn.qkv" || part === "own.qkv") return ["q", "k", "v"].map((each) => at(`self_attn.${each}_proj`));
  if (/^cross\.[qkv]$/.test(part)) return at(`encoder_attn.${part.at(-1)}_proj`);
  return at(
    {
      "attn.proj": "self_attn.out_proj",
      "own.proj": "self_attn.out_proj",
      "norm1": "self_attn_layer_norm",
      "ownNorm": "self_attn_layer_norm",
      "cross.proj": "encoder_attn.out_proj",
      "crossNorm": "encoder_attn_layer_norm",
      "mlp.fc1": "fc1",
      "mlp.fc2": "fc2",
      "norm2": "final_layer_norm",
      "norm": "final_layer_norm",
    }[part]!,
  );
};
