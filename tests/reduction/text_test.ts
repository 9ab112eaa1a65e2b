/** Laws of text reduction in one loop over the catalogue, and what bad input says. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { textFigure } from "../../lib/plot/mod.ts";
import {
  aboveThreshold,
  cascade,
  chooseDocuments,
  type CompressedText,
  type LanguageScorer,
  llmlingua,
  llmlingua2,
  longllmlingua,
  lookAtLayers,
  lookAtText,
  ltpThreshold,
  randomWords,
  recoverAnswer,
  scoreTokens,
  selectedLoss,
  selectiveContext,
  selectLoss,
  textMethods,
  type TextOptions,
  type TokenClassifier,
  tokenSkip,
  unitsOf,
} from "../../lib/reduction/mod.ts";

/** Pieces of words of up to three characters, the white space before a word with its first one. */
function tokenize(text: string) {
  const starts: number[] = [], ends: number[] = [];
  for (const match of text.matchAll(/\s*\S{1,3}|\s+$/g)) {
    starts.push(match.index);
    ends.push(match.index + match[0].length);
  }
  const idOf = (piece: string) =>
    [...piece.trim()].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)!) % 1009, 7);
  return {
    ids: Int32Array.from(starts, (start, t) => idOf(text.slice(start, ends[t]))),
    starts: Int32Array.from(starts),
    ends: Int32Array.from(ends),
  };
}

/** A token is likely if it follows what it followed before, and by its id. */
const scorer: LanguageScorer = {
  name: "hashes",
  context: 32,
  tokenize,
  logProbabilities: (sequences) =>
    sequences.map((ids) => Float32Array.from(ids, (id, t) => -1 - (id * 7 + (t ? ids[t - 1] : 3)) % 997 / 100)),
};
const classifier: TokenClassifier = {
  name: "hashes",
  context: 32,
  tokenize,
  keepProbabilities: (sequences) => sequences.map((ids) => Float32Array.from(ids, (id) => (id * 13 % 997) / 997)),
};
const models = { scorer, classifier, seed: 3 };

const words =
  "the old river ran past a quiet hill and forty-two birds sang, while Anna (who was late) looked for her lamp.".split(
    " ",
  );
function someText(seed: number): string {
  const draw = random(seed, "text");
  return Array.from({ length: 4 + draw.integer(60) }, () => draw.choice(words) + (draw.bernoulli(0.1) ? ".\n" : ""))
    .join(" ");
}

const seeds = Deno.env.get("TESSERA_FULL") === "1" ? 200 : 10;
for (const [name, { compress, monotone }] of Object.entries(textMethods)) {
  Deno.test(`${name} obeys the laws of text`, async () => {
    for (let seed = 0; seed < seeds; seed++) {
      const text = someText(seed), what = `seed ${seed}`;
      const run = (options: TextOptions) => compress(models, text, options);
      const half = await run({ keepRate: 0.5 });
      // a subsequence, as its spans say
      assert.equal(half.spans.map(([start, end]) => text.slice(start, end)).join(""), half.compressed, what);
      half.spans.forEach(([start, end], s) => assert.ok(start < end && (!s || start > half.spans[s - 1][1] - 1), what));
      const said = half.tokens.ids.length, stay = half.kept.reduce((sum, one) => sum + one, 0);
      assert.equal(half.achievedRate, stay / said, what);
      assert.equal(half.text, text);
      assert.equal(half.score.length, said);
      const longest = Math.max(
        ...unitsOf(text, "phrase").map(([start, end]) => tokenize(text.slice(start, end)).ids.length),
      );
      assert.ok(
        stay <= Math.max(Math.floor(said / 2), longest) && stay >= Math.floor(said / 2) - longest,
        `${what}: ${stay} of ${said}`,
      );
      assert.deepEqual(Object.keys(half.seconds).every((stage) => half.seconds[stage] >= 0), true);
      // the same again
      assert.deepEqual((await run({ keepRate: 0.5 })).kept, half.kept, what);
      // all of it is the text
      assert.equal((await run({ keepRate: 1 })).compressed, text, what);
      // what is protected stays
      const guarded = await run({ keepRate: 0.3, protect: ["Anna", "42", "lamp"] });
      const count = (of: string, word: string) => of.split(word).length - 1;
      for (const word of ["Anna", "lamp"]) {
        assert.equal(count(guarded.compressed, word) >= count(text, word), true, what);
      }
      // more stays at a higher rate, and nothing else goes for it
      if (monotone) {
        const more = await run({ keepRate: 0.7 });
        half.kept.forEach((kept, token) =>
          assert.ok(!kept || more.kept[token], `${what}: token ${token} at 0.5, not at 0.7`)
        );
      }
      if (said > 32 && name !== "randomWords") {
        assert.match(half.notes.join("; "), /looks at 32|went as a whole|tokens went/, what);
      }
    }
  });

  Deno.test(`${name} says in one sentence what is wrong with a text or a rate`, async () => {
    const refused = (text: string, options: unknown, message: RegExp) =>
      assert.rejects(compress(models, text, options as TextOptions), message);
    await refused("", { keepRate: 0.5 }, /the text is empty, so that nothing can be kept; pass one with words$/);
    await refused(" \n ", { keepRate: 0.5 }, /the text is empty/);
    for (const keepRate of [0, -1, 1.5, NaN]) {
      await refused(
        "a text",
        { keepRate },
        new RegExp(`^BudgetOutOfRange: keepRate must lie in \\(0, 1\\], but it is ${keepRate}; `),
      );
    }
    await refused(
      "a text",
      { keep: 99 },
      /^BudgetOutOfRange: keep must be a whole number of tokens from 1 to the 3 of the text, but it is 99/,
    );
    await refused("a text", {}, /^BudgetConflict: a text's budget is either keepRate or keep, but neither is given/);
    await refused("a text", { keep: 1, keepRate: 0.5 }, /^BudgetConflict: .* but both is given/);
  });
}

Deno.test("a scorer that answers for another number of tokens, or not in logarithms, is refused with its name", async () => {
  const short = {
    ...scorer,
    logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length - 1)),
  };
  const positive = {
    ...scorer,
    logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length).fill(0.5)),
  };
  const broken = {
    ...scorer,
    logProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length).fill(NaN)),
  };
  for (const method of [selectiveContext, llmlingua]) {
    await assert.rejects(
      method(short, "one two three", { keepRate: 0.5 }),
      /the scorer hashes gave \d values for \d tokens; it must give one each/,
    );
    await assert.rejects(
      method(positive, "one two three", { keepRate: 0.5 }),
      /gave 0.5 for token 0, but a log-probability is at most 0/,
    );
    await assert.rejects(method(broken, "one two three", { keepRate: 0.5 }), /gave NaN for token 0/);
  }
  const shortClassifier = {
    ...classifier,
    keepProbabilities: (all: readonly Int32Array[]) => all.map(() => new Float32Array()),
  };
  await assert.rejects(
    llmlingua2(shortClassifier, "one two", { keepRate: 0.5 }),
    /the classifier hashes gave 0 values for 2 tokens/,
  );
  const logits = {
    ...classifier,
    keepProbabilities: (all: readonly Int32Array[]) => all.map((ids) => new Float32Array(ids.length).fill(3)),
  };
  await assert.rejects(
    llmlingua2(logits, "one two", { keepRate: 0.5 }),
    /gave 3 for token 0, but a probability lies in \[0, 1\]/,
  );
  await assert.rejects(
    llmlingua(scorer, "one two", { keepRate: 0.5, segment: 33 }),
    /a segment must have a whole number of tokens from 2 to the model's context of 32, but it is 33/,
  );
  await assert.rejects(longllmlingua(scorer, [], { keepRate: 0.5 }), /there are no documents/);
  await assert.rejects(longllmlingua(scorer, ["one"], { keepRate: 0.5, question: " " }), /the question is empty/);
  await assert.rejects(
    longllmlingua(scorer, ["one"], { keepRate: 0.5, question: "why ".repeat(40) }),
    /the question has \d+ tokens, and hashes looks at 32/,
  );
});

Deno.test("a text longer than the context is scored in windows that overlap, and that is said", async () => {
  const ids = Int32Array.from({ length: 100 }, (_, t) => t);
  const seen = {
    name: "windows",
    context: 32,
    logProbabilities: (all: readonly Int32Array[]) => all.map((window) => Float32Array.from(window, (_, t) => -t)),
  };
  const { values, windows } = await scoreTokens(seen, ids, { overlap: 8 });
  assert.equal(windows, 4);
  values.forEach((value, t) =>
    assert.ok(t < 8 ? value === -t || value === 0 : value <= -8, `token ${t} saw only ${-value} before it`)
  );
  const { notes } = await selectiveContext(scorer, someText(1).repeat(3), { keepRate: 0.5 });
  assert.match(notes[0], /^the text has \d+ tokens and hashes looks at 32: scored in \d+ windows that overlap$/);
  await assert.rejects(
    scoreTokens(seen, ids, { overlap: 32 }),
    /overlap must be a whole number from 0 to below the context of 32/,
  );
});

Deno.test("LongLLMLingua puts relevant documents at both ends, forces some, and an answer gets back what was dropped", async () => {
  assert.deepEqual(
    chooseDocuments([3, 1, 0, 2], [5, 5, 5, 5], { budget: 100, order: "twoStage", dynamicRatio: 0 }).documents,
    [3, 0, 2, 1],
  );
  assert.deepEqual(
    chooseDocuments([3, 1, 0, 2], [5, 5, 5, 5], { budget: 4, order: "original", dynamicRatio: 0, forced: [2] })
      .documents,
    [2, 3],
  );
  const documents = ["the lamp of Anna is red.", "forty-two birds sang.", "the quiet hill."];
  const result = await longllmlingua(scorer, documents, {
    question: "who has the lamp?",
    keepRate: 0.6,
    assertion: "",
  });
  assert.equal(result.text, documents.join("\n\n"));
  for (const [start, end] of result.spans) assert.ok(!result.text.slice(start, end).includes("\n\n"));
  const read = await randomWords({ tokenize }, "Dr. Anna Maria Ramirez came late", { keepRate: 0.6, seed: 2 });
  assert.ok("Dr. Anna Maria Ramirez came late".includes(recoverAnswer(read.compressed.trim(), read).split(" ")[0]));
});

Deno.test("texts that are looked at together must be the same", async () => {
  const at = (text: string) => randomWords({ tokenize }, text, { keepRate: 0.5, seed: 1 });
  const look = lookAtText([await at("one two three"), await at("one two three")]);
  assert.equal(look.layers.length, 2);
  const other: CompressedText = await at("one two four");
  assert.throws(() => lookAtText([other, { ...other, text: "x" }]), /not of one text/);
  assert.throws(() => lookAtText([]), /nothing to look at/);
});

Deno.test("Rho-1 with all tokens is the full loss, and what is left out gets no gradient; its controls choose what they say", () => {
  tidy(() => {
    const draw = random(5);
    const loss = tf.tensor2d(draw.uniforms(24, 0, 5), [3, 8]), reference = tf.tensor2d(draw.uniforms(24, 0, 5), [3, 8]);
    const all = selectLoss(loss, reference, { keepRate: 1 });
    assert.equal(selectedLoss(loss, all).dataSync()[0], loss.mean().dataSync()[0]);
    const real = tf.tensor2d(Array.from({ length: 24 }, (_, t) => t % 8 < 5 ? 1 : 0), [3, 8]);
    for (const choice of ["excess", "random", "hard", "easy", "reference"] as const) {
      const mask = selectLoss(loss, reference, { keepRate: 0.6, choice, real, key: randomKey(1) });
      assert.equal(mask.sum().dataSync()[0], 9, choice); // of 15 real ones
      assert.equal(mask.mul(tf.sub(1, real)).sum().dataSync()[0], 0, choice);
      const gradient = tf.grad((x) =>
        selectedLoss(
          x as tf.Tensor2D,
          selectLoss(x as tf.Tensor2D, reference, { keepRate: 0.6, choice, real, key: randomKey(1) }),
        )
      )(loss);
      assert.equal(gradient.mul(tf.sub(1, mask)).abs().sum().dataSync()[0], 0, choice);
      assert.ok(Math.abs(gradient.sum().dataSync()[0] - 1) < 1e-5, choice);
    }
    const score = loss.sub(reference).add(real.sub(1).mul(1e9)).dataSync();
    const excess = selectLoss(loss, reference, { keepRate: 0.6, real }).dataSync();
    const least = Math.min(...score.filter((_, t) => excess[t])),
      most = Math.max(...score.filter((_, t) => !excess[t]));
    assert.ok(least > most);
    assert.throws(
      () => selectLoss(loss, undefined, { keepRate: 0.5 }),
      /asks a reference model, but its losses are not given/,
    );
    assert.throws(() => selectLoss(loss, reference, { keepRate: 0 }), /keepRate must lie in \(0, 1\]/);
    assert.throws(() => selectLoss(loss, undefined, { keepRate: 0.5, choice: "random" }), /needs a key/);
  });
});

Deno.test("TokenSkip at rate 1 changes nothing, and says the rate that was reached", async () => {
  const trace = { question: "who?", reasoning: someText(4), answer: "Anna" };
  const compress = (text: string, keepRate: number) => llmlingua2(classifier, text, { keepRate });
  const [same] = await tokenSkip([trace], compress, { rates: [1], random: random(1) });
  assert.deepEqual([same.reasoning, same.achievedRate], [trace.reasoning, 1]);
  const [short] = await tokenSkip([trace], compress, { rates: [0.5], random: random(1) });
  assert.ok(
    short.reasoning.length < trace.reasoning.length && short.achievedRate <= 0.5 &&
      short.text.includes("<sep> 0.5 <sep>"),
  );
  await assert.rejects(tokenSkip([trace], compress, { rates: [0], random: random(1) }), /rates must lie in \(0, 1\]/);
});

Deno.test("what LTP and SpAtten keep is nested from layer to layer", () => {
  tidy(() => {
    const score = tf.tensor2d(random(1).uniforms(40, 0, 0.1), [1, 40]);
    const kept = Array.from(
      { length: 6 },
      (_, layer) => aboveThreshold(score, tf.scalar(ltpThreshold(0.08, layer, 6))).dataSync(),
    );
    const maps = Array.from(
      { length: 6 },
      (_, layer) => tf.softmax(tf.tensor3d(random(layer).normals(2 * 144), [2, 12, 12])),
    );
    const cascaded = cascade(maps as tf.Tensor3D[], [12, 10, 8, 6, 4, 3]).kept;
    assert.deepEqual(cascaded.map((row) => row.reduce((sum, one) => sum + one, 0)), [12, 10, 8, 6, 4, 3]);
    for (const rows of [kept, cascaded]) {
      for (let layer = 1; layer < rows.length; layer++) {
        rows[layer].forEach((stays, t) => assert.ok(!stays || rows[layer - 1][t]));
      }
    }
  });
});

Deno.test("texts are drawn as they were compressed, and layer by layer", async () => {
  const text = someText(2);
  const results = [
    await selectiveContext(scorer, text, { keepRate: 0.5 }),
    await llmlingua(scorer, text, { keepRate: 0.5 }),
  ];
  const fig = textFigure(lookAtText(results), { slider: "method" });
  const stay = results[1].kept.reduce((sum, one) => sum + one, 0);
  assert.match(fig.alt, new RegExp(`${stay} of ${results[1].kept.length} tokens stay`));
  const tokens = tokenize("one two three"); // "three" has two
  const maps = [1, 2].map((layer) => tf.softmax(tf.tensor3d(random(layer).normals(16), [1, 4, 4])) as tf.Tensor3D);
  const look = lookAtLayers("one two three", tokens, cascade(maps, [3, 2]));
  assert.match(textFigure(look).alt, /2 of 4 tokens stay/);
  assert.match(textFigure(look, { active: 0 }).alt, /3 of 4 tokens stay/);
  tf.dispose(maps);
});
