import assert from "node:assert/strict";
import { stories260k, writeSafetensors } from "../../lib/data/mod.ts";
import { causalRows, Llama, llamaNames, loadLlama, predict, saveParameters } from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";

const sizes = { vocabulary: 11, width: 24, depth: 2, mlpWidth: 20, context: 32 };

/** The largest difference of two tensors' numbers. */
const difference = (a: tf.Tensor, b: tf.Tensor | readonly number[]) =>
  tidy(() => tf.sub(a, b as tf.TensorLike).abs().max().dataSync()[0]);

Deno.test("Llama.forward() gives the logits of another implementation of stories260k", async () => {
  const model = await Llama.load("stories260k");
  const { expected } = await stories260k.load();
  const tokens = [1, ...expected.greedyTokens.slice(0, 100)];
  const { logits } = model.forward(tf.tensor2d([tokens], undefined, "int32"));
  const at = (place: number) => logits.slice([0, place, 0], [1, 1, -1]).reshape([-1]);
  assert.ok(difference(at(0), expected.logitsAfterBegin) < 1e-4);
  assert.ok(difference(at(100), expected.logitsAtStep100) < 1e-4);
  model.dispose();
});

Deno.test("groups of queries see what as many heads of keys would see, whatever the group", () => {
  for (const keyHeads of [1, 2, 3, 6]) {
    const grouped = Llama.create({ ...sizes, heads: 6, keyHeads }, random(keyHeads));
    const channels = grouped.channels;
    const repeat = (weight: tf.Tensor2D) =>
      weight.reshape([keyHeads, 1, channels, sizes.width]).tile([1, 6 / keyHeads, 1, 1])
        .reshape<tf.Tensor2D>([6 * channels, sizes.width]);
    const layers = grouped.weights.layers.map((layer) => ({
      ...layer,
      self_attn: {
        ...layer.self_attn,
        k_proj: { weight: repeat(layer.self_attn.k_proj.weight) },
        v_proj: { weight: repeat(layer.self_attn.v_proj.weight) },
      },
    }));
    const full = new Llama({ ...sizes, heads: 6 }, { ...grouped.weights, layers });
    const tokens = tf.tensor2d([[1, 5, 3, 9], [2, 0, 10, 4]], undefined, "int32");
    assert.ok(difference(grouped.forward(tokens).logits, full.forward(tokens).logits) < 1e-5, `${keyHeads} key heads`);
  }
});

Deno.test("a token's logits do not depend on what comes later, nor on the other texts of the batch", () => {
  const model = Llama.create({ ...sizes, heads: 4, keyHeads: 2 }, random(3));
  const logits = (rows: number[][]) => model.forward(tf.tensor2d(rows, undefined, "int32")).logits;
  const one = logits([[1, 2, 3]]);
  assert.ok(difference(logits([[1, 2, 3, 4]]).slice([0, 0, 0], [1, 3, -1]), one) < 1e-6);
  assert.ok(difference(logits([[1, 2, 3], [9, 8, 7]]).slice([0, 0, 0], [1, -1, -1]), one) < 1e-6);
});

Deno.test("a Llama with a head of its own comes back from Hugging Face's folder as it was", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const model = Llama.create({ ...sizes, heads: 4, keyHeads: 2 }, random(4));
    const config = {
      model_type: "llama",
      vocab_size: 11,
      hidden_size: 24,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      intermediate_size: 20,
      max_position_embeddings: 32,
      rms_norm_eps: 1e-5,
    };
    await writeSafetensors(`${folder}/model.safetensors`, await saveParameters(model.weights, llamaNames));
    const write = (changed: object) =>
      Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...config, ...changed }));
    await write({});
    const tokens = tf.tensor2d([[1, 2, 3]], undefined, "int32");
    assert.equal(difference((await loadLlama(folder)).forward(tokens).logits, model.forward(tokens).logits), 0);
    await write({ rope_scaling: { factor: 8 } });
    await assert.rejects(
      loadLlama(folder),
      /rotary positions scaled by {"factor":8}, which this model does not compute/,
    );
    await write({ model_type: "mamba" });
    await assert.rejects(loadLlama(folder), /a model of type mamba/);
    await write({ intermediate_size: 21 });
    await assert.rejects(
      loadLlama(folder),
      /weight model.layers.0.mlp.gate_proj.weight must have shape \[21,24\], but/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a Llama of impossible sizes, an empty text and one that is too long are refused in one sentence", async () => {
  const create = (more: object) => () => Llama.create({ ...sizes, heads: 4, ...more }, random(1));
  assert.throws(create({ heads: 5 }), /heads must divide the width into even numbers of channels, but 24 \/ 5/);
  assert.throws(create({ heads: 8 }), /but 24 \/ 8 is 3; change heads/);
  assert.throws(create({ keyHeads: 3 }), /keyHeads must divide heads, but 4 \/ 3 is not whole/);
  const model = create({})();
  assert.throws(() => model.forward(tf.zeros([1, 0], "int32")), /the text has no tokens; begin with at least one/);
  assert.throws(() => model.forward(tf.zeros([1, 40], "int32")), /40 tokens, but the model was trained on 32 .* by 8$/);
  await assert.rejects(predict(model, [1, 2], []), /the text after the prompt has no tokens/);
});

Deno.test("causalRows() repeats the triangle for each query of a group", () => {
  assert.deepEqual(causalRows(2, 2).arraySync(), [[[[1, 0], [1, 1], [1, 0], [1, 1]]]]);
});
