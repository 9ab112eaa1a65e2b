/**
 * How the golden cases of MedTok and of its graph convolution are computed here.
 *
 * @module
 */
import { tf } from "../../lib/tensor/mod.ts";
import { linear } from "../../lib/nn/mod.ts";
import {
  codebookRegions,
  codewordDistances,
  crossAttend,
  type Encoded,
  encodeGraphs,
  gcnConv,
  infoNCE,
  meanInnerProduct,
  type MedTokConfig,
  medtokConfig,
  medtokLosses,
  normaliseEdges,
  orthogonality,
  quantize,
  quantizeModalities,
  type QuantizerParameters,
  sharedLoss,
  specificLoss,
  usageEntropyLoss,
} from "../../lib/tokenization/mod.ts";
import { assertClose } from "./cases.ts";
import type { Family } from "./families.ts";

/** The families of MedTok and of the graph convolution. */
export const tokenizationFamilies: Readonly<Record<string, Family>> = {
  "medtok.info_nce_loss": ({ params, inputs, outputs }) => {
    const temperature = number(params.temperature);
    assertClose(infoNCE(matrix(inputs.q), matrix(inputs.k), { temperature }).arraySync(), outputs.loss, "loss");
  },
  "medtok.orthogonal_loss": ({ inputs, outputs }) =>
    assertClose(orthogonality(matrix(inputs.z), matrix(inputs.z_star)).arraySync(), outputs.loss, "loss"),
  "medtok.alignment_loss": ({ inputs, outputs }) =>
    assertClose(meanInnerProduct(matrix(inputs.mu1), matrix(inputs.mu2)).arraySync(), outputs.loss, "loss"),
  "medtok.shared_loss": ({ inputs, outputs }) => {
    const { z1, z2, x1, x2 } = inputs;
    const parts = sharedLoss(matrix(z1), matrix(z2), [matrix(x1), matrix(x2)]);
    const alignment = parts.alignment.arraySync();
    const both = [parts.textToGraph.arraySync(), alignment, parts.graphToText.arraySync(), alignment];
    assertClose(both, outputs.parts, "parts");
  },
  "medtok.specific_loss": ({ inputs, outputs }) => {
    const { z1, z1_aug, z2, z2_aug, z1_c, z2_c } = inputs;
    const text = specificLoss(matrix(z1), matrix(z1_aug), matrix(z2_c), matrix(z1_c));
    const graph = specificLoss(matrix(z2), matrix(z2_aug), matrix(z1_c), matrix(z2_c));
    const parts = [text.views, text.overlap, graph.views, graph.overlap].map((part) => part.arraySync());
    assertClose(parts, outputs.parts, "parts");
  },
  "medtok.compute_entropy_loss": ({ params, inputs, outputs }) =>
    assertClose(
      usageEntropyLoss(matrix(inputs.affinity), number(params.temperature)).arraySync(),
      outputs.loss,
      "loss",
    ),
  "medtok.specific_embedding": ({ params, inputs, outputs }) => {
    const codebook = matrix(inputs["codebook.weight"]);
    const regions = codebookRegions(number(params.n_e));
    for (const side of ["text", "graph"] as const) {
      const layer = linearOf(inputs, `proj_${side}`);
      const projected = linear(matrix(inputs[`z_${side}`]), layer);
      const region = regions[side];
      const result = quantize(projected, codebook, { region, K: number(params.k) });
      const expected = outputs[side] as Record<string, unknown>;
      assertClose(projected.arraySync(), expected.projected, `${side}.projected`);
      assertClose(codewordDistances(projected, codebook, region).arraySync(), expected.distances, `${side}.distances`);
      const local = result.tokens.sub(tf.scalar(region.start, "int32"));
      assertClose(local.arraySync(), expected.local_idx, `${side}.local_idx`);
      assertClose(result.weights.arraySync(), expected.weights, `${side}.weights`);
      assertClose(result.out.arraySync(), expected.quantized, `${side}.quantized`);
    }
  },
  "medtok.get_shared_info": ({ params, inputs, outputs }) => {
    const layers = crossAttentionOf(inputs, number(params.layers));
    const shared = crossAttend(
      { x: tf.tensor3d(inputs.text_tokens as number[][][]), mask: matrix(inputs.text_mask) },
      padded(inputs.graph_nodes, inputs.graph_batch),
      layers,
      { heads: number(params.num_head) },
    );
    const codebook = matrix(inputs["codebook.weight"]);
    const chosen = (embedding: tf.Tensor2D) => quantize(embedding, codebook, { K: number(params.k) }).out.arraySync();
    assertClose(chosen(shared.text), outputs.shared_text, "shared_text");
    assertClose(chosen(shared.graph), outputs.shared_graph, "shared_graph");
  },
  "medtok.quantizer_forward": ({ params, inputs, outputs }) => {
    const weights = inputs.weights as Record<string, unknown>;
    const d = number(params.e_dim);
    const layers =
      Object.keys(weights).filter((name) => /cross_attn\.model\.\d+\.layer_norm\.weight/.test(name)).length;
    const config: MedTokConfig = medtokConfig("repo", {
      N: number(params.n_e),
      K: number(params.k),
      d,
      heads: number(params.num_head),
      xLayers: layers,
      betaCommit: number(params.beta),
      beta: number(params.shared_loss_beta),
      lambda: number(params.specific_loss_lamb),
      dropout: 0,
    });
    const graph = padded(inputs.graph_nodes, inputs.graph_batch);
    const text = { x: tf.tensor3d(inputs.text_tokens as number[][][]), mask: matrix(inputs.text_mask) };
    const names = [
      "codebook.weight",
      "proj_text.weight",
      "proj_text.bias",
      "proj_graph.weight",
      "proj_graph.bias",
      ...Array.from({ length: layers }, (_, i) =>
        [
          "multihead_attn.in_proj_weight",
          "multihead_attn.in_proj_bias",
          "multihead_attn.out_proj.weight",
          "multihead_attn.out_proj.bias",
          "layer_norm.weight",
          "layer_norm.bias",
        ].map((name) => `cross_attn.model.${i}.${name}`)).flat(),
    ];
    const values: Record<string, tf.Tensor> = {
      ...Object.fromEntries(names.map((name) => [name, tensor(weights[name])])),
      h: tensor(inputs.h),
      h_aug: tensor(inputs.h_aug),
      text_tokens: text.x,
      graph_nodes: graph.x,
    };
    const run = (tensors: Record<string, tf.Tensor>) => {
      const parameters: QuantizerParameters = {
        textProjector: linearOf(tensors, "proj_text"),
        graphProjector: linearOf(tensors, "proj_graph"),
        crossAttention: crossAttentionOf(tensors, layers),
        codebook: { weight: tensors["codebook.weight"] as tf.Tensor2D },
      };
      const half = (h: tf.Tensor, side: number) => (h as tf.Tensor2D).slice([0, side * d], [-1, d]);
      const encoded: Encoded = {
        features: { text: half(tensors.h, 0), graph: half(tensors.h, 1) },
        augmented: { text: half(tensors.h_aug, 0), graph: half(tensors.h_aug, 1) },
        text: { x: tensors.text_tokens as tf.Tensor3D, mask: text.mask },
        graph: { x: tensors.graph_nodes as tf.Tensor3D, mask: graph.mask },
      };
      const output = quantizeModalities(encoded, parameters, config);
      return { output, losses: medtokLosses(encoded, output, parameters, config), encoded };
    };

    const { output, losses } = run(values);
    const { textSpecific, graphSpecific, textShared, graphShared } = output.slots;
    assertClose(textShared!.out.arraySync(), outputs.shared_text, "shared_text");
    assertClose(graphShared!.out.arraySync(), outputs.shared_graph, "shared_graph");
    assertClose(textSpecific!.out.arraySync(), outputs.specific_text, "specific_text");
    assertClose(graphSpecific!.out.arraySync(), outputs.specific_graph, "specific_graph");
    assertClose(output.augmented!.textSpecific!.out.arraySync(), outputs.specific_text_aug, "specific_text_aug");
    assertClose(output.augmented!.graphSpecific!.out.arraySync(), outputs.specific_graph_aug, "specific_graph_aug");
    const expected = outputs.losses as Record<string, number & number[]>;
    const sharedVq = tf.add(textShared!.codebookLoss, graphShared!.codebookLoss).arraySync() as number;
    assertClose(sharedVq, expected.shared_vq, "shared_vq");
    assertClose(textSpecific!.codebookLoss.arraySync(), expected.text_vq, "text_vq");
    assertClose(graphSpecific!.codebookLoss.arraySync(), expected.graph_vq, "graph_vq");
    assertClose(
      losses.commitment.arraySync(),
      expected.shared_commit + expected.text_commit + expected.graph_commit,
      "commitment",
    );
    const [textToGraph, alignment, graphToText] = expected.shared_parts;
    assertClose(losses.shared.arraySync(), textToGraph + graphToText, "shared");
    assertClose(losses.alignment.arraySync(), -2 * config.beta * alignment, "alignment");
    const [textViews, textOverlap, graphViews, graphOverlap] = expected.specific_parts;
    assertClose(losses.specific.arraySync(), textViews + graphViews, "specific");
    assertClose(losses.orthogonality.arraySync(), config.lambda * (textOverlap + graphOverlap), "orthogonality");
    assertClose(losses.total.arraySync(), expected.total, "total");

    const keys = Object.keys(values);
    const gradients = tf.grads((...tensors: tf.Tensor[]) =>
      run(Object.fromEntries(keys.map((key, i) => [key, tensors[i]]))).losses.total
    )(Object.values(values));
    for (const [name, value] of Object.entries(outputs.grads as Record<string, unknown>)) {
      let gradient: tf.Tensor = gradients[keys.indexOf(name)];
      if (name === "graph_nodes") gradient = unpadded(gradient as tf.Tensor3D, inputs.graph_batch);
      assertClose(gradient.arraySync(), value, `grads.${name}`);
    }
  },
  "medtok.gcn_encoder": ({ params, inputs, outputs }) => {
    const weights = inputs.weights as Record<string, unknown>;
    const layers = [0, 2].map((i) => ({
      weight: matrix(weights[`model.${i}.lin.weight`]),
      bias: vector(weights[`model.${i}.bias`]),
    }));
    const table = matrix(weights["emb.weight"]);
    if (table.shape[0] !== params.num_nodes) throw new Error("the table of nodes has another size than the case says");
    const nodes = inputs.nodes as number[];
    const x = tf.gather(table, tf.tensor1d(nodes, "int32"));
    const [source, target] = inputs.edge_index as number[][];
    const edges = normaliseEdges(nodes.length, source, target);
    const layer1 = gcnConv(x, edges, layers[0]);
    assertClose(layer1.arraySync(), outputs.layer1, "layer1");
    const layer2 = gcnConv(tf.relu(layer1), edges, layers[1]);
    assertClose(layer2.arraySync(), outputs.layer2, "layer2");

    // the same as one batch of padded graphs, as MedTok computes it
    const graphs = inputs.graph_batch ?? inputs.batch;
    const batch = padded(x.arraySync(), graphs);
    const [count, size] = batch.mask.shape;
    const adjacency = tf.buffer([count, size, size]);
    const place = placesIn(graphs);
    edges.source.forEach((from, i) => {
      const [graph, s] = place[from], [, t] = place[edges.target[i]];
      adjacency.set(adjacency.get(graph, t, s) as number + edges.weight[i], graph, t, s);
    });
    const dense = encodeGraphs(batch.x, adjacency.toTensor() as tf.Tensor3D, [layers[0], layers[1]]);
    assertClose(unpadded(dense, graphs).arraySync(), outputs.layer2, "layer2, padded");
    const pooled = tf.div(tf.mul(dense, batch.mask.expandDims(2)).sum(1), batch.mask.sum(1, true));
    assertClose(pooled.arraySync(), outputs.pooled, "pooled");
  },
  "pyg.gcn_conv": ({ params, inputs, outputs }) => {
    const weights = inputs.weights as Record<string, unknown>;
    const [source, target] = inputs.edge_index as number[][];
    const x = matrix(inputs.x);
    const edges = normaliseEdges(x.shape[0], source, target, inputs.edge_weight as number[] | undefined, {
      addSelfLoops: params.add_self_loops === true,
      improved: params.improved === true,
      normalize: params.normalize === true,
    });
    const layer = { weight: matrix(weights["lin.weight"]), ...(weights.bias ? { bias: vector(weights.bias) } : {}) };
    assertClose(gcnConv(x, edges, layer).arraySync(), outputs.output, "output");
  },
};

function linearOf(weights: Record<string, unknown>, name: string) {
  return { weight: matrix(weights[`${name}.weight`]), bias: vector(weights[`${name}.bias`]) };
}

function crossAttentionOf(weights: Record<string, unknown>, layers: number) {
  return Array.from({ length: layers }, (_, i) => {
    const at = `cross_attn.model.${i}`;
    return {
      attn: {
        qkv: {
          weight: matrix(weights[`${at}.multihead_attn.in_proj_weight`]),
          bias: vector(weights[`${at}.multihead_attn.in_proj_bias`]),
        },
        proj: linearOf(weights, `${at}.multihead_attn.out_proj`),
      },
      norm: linearOf(weights, `${at}.layer_norm`) as unknown as { weight: tf.Tensor1D; bias: tf.Tensor1D },
    };
  });
}

/** Where each node of a flat list stands: its graph, and its place in it. */
function placesIn(graphs: unknown): [graph: number, place: number][] {
  const seen: number[] = [];
  return (graphs as number[]).map((graph) => [graph, (seen[graph] = (seen[graph] ?? 0) + 1) - 1]);
}

/** A flat list of nodes as padded graphs. */
function padded(nodes: unknown, graphs: unknown): { x: tf.Tensor3D; mask: tf.Tensor2D } {
  const rows = nodes as number[][];
  const place = placesIn(graphs);
  const count = Math.max(...place.map(([graph]) => graph)) + 1, size = Math.max(...place.map(([, at]) => at)) + 1;
  const x = tf.buffer([count, size, rows[0].length]), mask = tf.buffer([count, size]);
  place.forEach(([graph, at], i) => {
    rows[i].forEach((value, k) => x.set(value, graph, at, k));
    mask.set(1, graph, at);
  });
  return { x: x.toTensor() as tf.Tensor3D, mask: mask.toTensor() as tf.Tensor2D };
}

function unpadded(x: tf.Tensor3D, graphs: unknown): tf.Tensor2D {
  const rows = x.arraySync();
  return tf.tensor2d(placesIn(graphs).map(([graph, at]) => rows[graph][at]));
}

const tensor = (values: unknown): tf.Tensor => values instanceof tf.Tensor ? values : tf.tensor(values as number[]);
const matrix = (values: unknown) => tensor(values) as tf.Tensor2D;
const vector = (values: unknown) => tensor(values) as tf.Tensor1D;

function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new Error(`a number is expected in the case, but it is ${JSON.stringify(value)}`);
}
