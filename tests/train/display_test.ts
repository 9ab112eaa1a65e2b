/** What a run shows: a curve that changes in a notebook, and Stop there; lines on standard error elsewhere. */
import assert from "node:assert/strict";
import { Kernel } from "tessera/notebook/client.ts";
import { backend, tf } from "tessera/tensor/mod.ts";
import { examples, fit, sgd, trainStep } from "tessera/train/mod.ts";

const cwd = new URL("../../", import.meta.url).pathname;

Deno.test("outside a notebook a run prints a line per epoch, what it goes on from, and how it ended", async () => {
  const w = tf.variable(tf.scalar(0));
  const x = tf.tensor1d([1, 2, 3]);
  const step = trainStep((x: tf.Tensor) => x.sub(w).square().mean(), sgd({ learningRate: 0.1 }), { w });
  const go = { step, data: examples(x), batch: 2, seed: 1, validate: (epoch: number) => ({ error: 1 / epoch }) };
  const lines: string[] = [];
  const print = console.error;
  console.error = (line: string) => lines.push(line);
  try {
    await fit({ ...go, epochs: 2 });
    await fit({ ...go, epochs: 3 });
  } finally {
    console.error = print;
  }
  const expected = [
    /^epoch 1 of 2 +step 2 +loss [\d.]+; validation: error 1\.000$/,
    /^epoch 2 of 2 +step 4 +loss [\d.]+; validation: error 0\.5000$/,
    /^done after step 4 of 4$/,
    /^goes on after step 4 of 6$/,
    /^epoch 3 of 3 +step 6 +loss [\d.]+; validation: error 0\.3333$/,
    /^done after step 6 of 6$/,
  ];
  assert.equal(lines.length, expected.length, lines.join("\n"));
  lines.forEach((line, i) => assert.match(line, expected[i]));
  step.dispose();
  tf.dispose([w, x]);
});

const started = `
import { tf } from "tessera/tensor/mod.ts";
import { examples, fit, sgd, trainStep } from "tessera/train/mod.ts";
const w = tf.variable(tf.scalar(0));
const step = trainStep((x: tf.Tensor) => x.sub(w).square().mean(), sgd({ learningRate: 0.1 }), { w });
const data = examples(tf.tensor1d([1, 2, 3]));
`;

Deno.test({
  name: "in a notebook the curve changes in place, Stop ends the cell between two steps, and the next cell goes on",
  ignore: backend.name !== "tensorflow",
}, async () => {
  const kernel = await Kernel.start({ cwd });
  try {
    assert.equal((await kernel.execute(started)).status, "ok");
    const running = kernel.execute("await fit({ step, data, epochs: 1_000_000, batch: 2, seed: 1 })");
    await new Promise((resolve) => setTimeout(resolve, 4000));
    kernel.interrupt();
    const { messages, status } = await running;
    assert.equal(status, "error");
    const error = messages.find(({ header }) => header.msg_type === "error")!;
    assert.match(JSON.stringify(error.content), /stopped by the user/);
    const shown = messages.filter(({ header }) => header.msg_type.endsWith("display_data"));
    assert.deepEqual([...new Set(shown.map(({ header }) => header.msg_type))], ["display_data", "update_display_data"]);
    const ids = shown.map(({ content }) => (content.transient as { display_id: string }).display_id);
    assert.equal(new Set(ids).size, 1, "one output that changes");
    const bundles = shown.map(({ content }) => content.data as Record<string, unknown>);
    assert.ok(bundles.every((bundle) => "application/vnd.plotly.v1+json" in bundle));
    assert.ok("image/svg+xml" in bundles.at(-1)!, "the last one has its picture");
    assert.match(String(bundles.at(-1)!["text/plain"]), /stopped; call fit again to go on/);

    const after = await kernel.execute(`
      const before = step.count;
      const run = await fit({ step, data, epochs: Math.floor(before / 2) + 5, batch: 2, seed: 1 });
      [before > 0, run.steps > before, run.history.loss.length === run.steps, step.count === run.steps].join()`);
    assert.equal(after.status, "ok", JSON.stringify(after.messages.at(-1)?.content));
    assert.match(JSON.stringify(after.messages.at(-1)!.content), /true,true,true,true/);
  } finally {
    await kernel.shutdown();
  }
});
