/** Asking with a mask over the cache is asking with a cache that is really smaller. */
import assert from "node:assert/strict";
import { policiesFor } from "../../../experiments/claims/memory/policies.ts";
import { ask, find, forget, goOn, read, staying } from "../../../experiments/claims/memory/recall.ts";
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { bySeed, fromCSV } from "../../../lib/experiment/mod.ts";
import { cacheView, Llama, predict } from "../../../lib/nn/mod.ts";
import { keyDiff, knorm, snapKV, streamingLLM, tova } from "../../../lib/reduction/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";

Deno.test("a mask over dropped slots gives the logits of a cache without them, for policies of every kind", async () => {
  const model = await Llama.load("tinyLM");
  const facts = hiddenFacts({ texts: 2, seed: 77, facts: 10 });
  const batch = ask(facts, { known: false });
  const prompts = batch.prompt.arraySync(), rests = batch.rest.arraySync();
  const memory = read(model, batch.prompt, 1);
  const budget = { keepRate: 0.4 };
  const policies = [
    undefined,
    tova(budget),
    knorm(budget),
    keyDiff(budget),
    snapKV(budget),
    streamingLLM({ ...budget, parity: true }),
  ];
  for (const policy of policies) {
    const masked = tidy(() => {
      const views = memory.map(cacheView);
      return goOn(model, views, staying(policy, views), batch.rest, batch.from).arraySync();
    });
    for (const q of [0, 7, 13]) {
      const smaller = await predict(model, prompts[q], rests[q], policy ? { cache: policy } : {});
      const rows = smaller.arraySync() as number[][];
      smaller.dispose();
      // predict's row 1 has read the first token of the question, as the mask's row 0
      const worst = Math.max(...rows[1].map((value, token) => Math.abs(value - masked[q][0][token])));
      assert.ok(worst < 1e-3, `${policy?.name ?? "no policy"}, question ${q}: ${worst}`);
    }
  }
  forget(memory);
  tf.dispose([batch.prompt, batch.rest]);
});

Deno.test("the model that is trained in the rows of seed 0 is the one that is shipped: it finds the same facts", async () => {
  const path = new URL("../../../experiments/claims/memory/rows.csv", import.meta.url);
  const rows = fromCSV(await Deno.readTextFile(path), "rows.csv");
  const model = await Llama.load("tinyLM");
  const batch = ask(hiddenFacts({ texts: 60, seed: 1000, facts: 10 }), { known: false });
  const memory = read(model, batch.prompt, 0);
  const policies = policiesFor(0.5, batch.wanted);
  for (const policy of ["none", "KeyDiff", "SnapKV", "Knorm"]) {
    const { recall } = find(model, memory, policies[policy], batch);
    const [ofRows, ...others] = bySeed(rows, { policy, question: "unknown", removed: 0.5 }, "recall");
    // another processor may round another way, and a few of 600 answers turn
    assert.ok(Math.abs(recall - ofRows) < 0.01, `${policy}: ${recall}, and ${ofRows} in the rows`);
    if (policy === "SnapKV") assert.ok(others.every((other) => other !== ofRows), "all seeds gave the same");
  }
  forget(memory);
  tf.dispose([batch.prompt, batch.rest]);
});

Deno.test("trainings differ more than sets of texts do for one training, as the cards say", async () => {
  const read = async (path: string) =>
    fromCSV(await Deno.readTextFile(new URL(`../../../experiments/claims/memory/${path}`, import.meta.url)), path);
  // the small run asks one model about other texts; its sets are half as large, which makes them differ more
  const trainings = await read("rows.csv"), texts = await read("fast/rows.csv");
  const width = (values: number[]) => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
  const scored = [
    "longest keys",
    "longest values",
    "KeyDiff",
    "TOVA",
    "SnapKV",
    "ExpectedAttention",
    "ObservedAttention",
  ];
  for (const removed of [0.5, 0.9]) {
    const over = (rows: typeof texts) =>
      mean(scored.map((policy) => width(bySeed(rows, { policy, question: "unknown", removed }, "recall").slice(0, 3))));
    assert.ok(over(trainings) > 2 * over(texts), `${removed} removed: ${over(trainings)} and ${over(texts)}`);
  }
});
