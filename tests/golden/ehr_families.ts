/**
 * How the golden cases of models of health records, of their tokenizers and of scikit-learn's scores are computed here.
 *
 * @module
 */
import {
  behrtEncode,
  behrtGuess,
  behrtLayers,
  behrtPool,
  rowsOf,
  sinusoid,
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
  transformEHRClassify,
  type TransformEHRConfig,
  transformEHRDecode,
  transformEHREncode,
  transformEHRLayers,
} from "../../experiments/ehr/models/transformehr.ts";
import { binaryCrossEntropy, maskedCrossEntropy } from "../../experiments/ehr/model.ts";
import type { NumericArray } from "../../lib/data/mod.ts";
import {
  type Described,
  embeddingLayer,
  gelu,
  linear,
  loadParameters,
  type NameMap,
  parameter,
} from "../../lib/nn/mod.ts";
import { columnScores } from "../../lib/stats.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
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
