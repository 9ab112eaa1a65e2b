import assert from "node:assert/strict";
import { icd10cm } from "../../lib/data/mod.ts";
import { trainWordPieceTransformer, wordPieces } from "../../lib/tokenization/mod.ts";

Deno.test("word pieces join the most frequent pairs, cut greedily from the left, and put words together again", () => {
  const { pieces, encode } = wordPieces(["fever fevers fever", "feverish never"], 24);
  assert.deepEqual(pieces.slice(0, 4), ["[PAD]", "[UNK]", "[CLS]", "[MASK]"]);
  const shown = (text: string) => encode(text).map((piece) => pieces[piece]);
  assert.deepEqual(shown("fever"), ["fever"]);
  assert.equal(shown("feverish never").join("").replaceAll("##", ""), "feverishnever");
  assert.deepEqual(shown("xyz fever"), ["[UNK]", "fever"]);
  assert.throws(() => wordPieces(["abcdef"], 5), /the texts have 6 letters, for which 5 pieces are too few/);
});

Deno.test("the transformer learns to guess hidden pieces of real descriptions, and a text's states depend on it alone", async () => {
  const texts = (await icd10cm.load()).rows.filter(({ code }) => /^E1[01]/.test(code)).map(({ description }) =>
    description
  );
  const encoder = await trainWordPieceTransformer(texts, {
    pieces: 300,
    width: 32,
    layers: 1,
    heads: 2,
    length: 24,
    epochs: 50,
    batch: 32,
    learningRate: 3e-3,
    show: false,
  });
  const { loss } = encoder.run.history;
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b) / values.length;
  const [before, after] = [mean(loss.slice(0, 5)), mean(loss.slice(-20))];
  assert.ok(after < 0.6 * before, `${before} became ${after}`);
  const codes = texts.map((description, i) => ({ system: "ICD10CM", code: `${i}`, description }));
  const together = encoder.encode(codes, 12);
  for (const i of [0, 70, texts.length - 1]) {
    const alone = encoder.encode([codes[i]], 12);
    assert.deepEqual(alone.states, together.states.slice(i * 12 * 32, (i + 1) * 12 * 32));
    assert.deepEqual(alone.mask, together.mask.slice(i * 12, (i + 1) * 12));
  }
  encoder.dispose();
});
