/** MACs and bytes to the digit that papers print: the anchors of the specification of reduction, section 4.6. */
import assert from "node:assert/strict";
import { cacheBytes, decoderMACs, vitMACs, type ViTShape } from "../../lib/nn/macs.ts";
import { ViT } from "../../lib/nn/vit.ts";
import type { Reducer } from "../../lib/nn/reducer.ts";
import {
  dynamicvit,
  evenly,
  evit,
  type ModelSizes,
  reducers,
  shrinking,
  solveBudget,
  tokenCounts,
  tome,
  topk,
} from "../../lib/reduction/mod.ts";

const widths = { T: [192, 3], S: [384, 6], B: [768, 12], L: [1024, 16], H: [1280, 16] } as const;
type Size = keyof typeof widths;

function model(size: Size): { shape: ViTShape; sizes: ModelSizes } {
  const [width, heads] = widths[size];
  const depth = size === "L" ? 24 : size === "H" ? 32 : 12, side = size === "H" ? 16 : 14;
  const patchValues = 3 * (size === "H" ? 14 : 16) ** 2;
  return {
    shape: { width, depth, mlpWidth: 4 * width, patches: side * side, patchValues, classes: 1000 },
    sizes: { width, heads, layers: depth, grid: [side, side], specialTokens: 1 },
  };
}

function gmacs(size: Size, reducer?: Reducer): string {
  const { shape, sizes } = model(size);
  const none = Array(shape.depth).fill({ in: shape.patches + 1, out: shape.patches + 1 });
  return (vitMACs(shape, reducer ? tokenCounts(reducer, sizes) : none) / 1e9).toFixed(3);
}

Deno.test("Vision Transformers cost what papers print", () => {
  const printed = { T: "1.254", S: "4.599", B: "17.564", L: "61.555", H: "167.295" };
  for (const [size, expected] of Object.entries(printed)) assert.equal(gmacs(size as Size), expected, size);
});

Deno.test("ToMe costs what its paper prints", () => {
  const printed: [Size, number, string][] = [
    ["S", 8, "3.416"],
    ["S", 12, "2.844"],
    ["S", 13, "2.703"],
    ["S", 16, "2.291"],
    ["T", 8, "0.924"],
    ["T", 12, "0.769"],
    ["T", 16, "0.622"],
    ["B", 8, "13.104"],
    ["B", 13, "10.367"],
    ["B", 16, "8.772"],
    ["L", 8, "30.963"],
  ];
  for (const [size, r, expected] of printed) assert.equal(gmacs(size, tome({ r })), expected, `${size}, r = ${r}`);
  const falling = tome({ r: { r: 16, inflect: -1 } });
  assert.equal(gmacs("B", falling), "5.864");
  const trace = tokenCounts(falling, model("B").sizes);
  assert.deepEqual([trace[0].in, ...trace.map((count) => count.out)], [
    ...[197, 165, 136, 110, 87, 67, 50, 36, 25, 17, 12, 10, 10],
  ]);
});

Deno.test("EViT, Top-K and DynamicViT cost what their papers print", () => {
  const evits = { 0.9: "4.022", 0.8: "3.477", 0.7: "3.029", 0.6: "2.635", 0.5: "2.309" };
  for (const [rate, expected] of Object.entries(evits)) {
    assert.equal(gmacs("S", evit({ keepRate: Number(rate) })), expected, `EViT ${rate}`);
  }
  const topks: Record<string, string[]> = {
    T: ["1.075", "0.808", "0.621", "0.471"],
    S: ["3.960", "2.980", "2.278", "1.699"],
    B: ["15.160", "11.421", "8.697", "6.428"],
  };
  for (const [size, row] of Object.entries(topks)) {
    for (const [i, keepRate] of [0.9, 0.7, 0.5, 0.25].entries()) {
      assert.equal(gmacs(size as Size, topk({ keepRate })), row[i], `Top-K ${size} ${keepRate}`);
    }
  }
  const dynamic = { 0.9: "3.914", 0.8: "3.349", 0.7: "2.878", 0.5: "2.147" };
  const { sizes } = model("S");
  for (const [rate, expected] of Object.entries(dynamic)) {
    const reducer = dynamicvit({ keepRate: Number(rate), sizes });
    assert.equal(gmacs("S", reducer), expected, `DynamicViT ${rate}`);
    for (const parameter of reducer.parameters) parameter.dispose();
  }
});

Deno.test("decoders cost, and their caches hold, what papers print", () => {
  const llava = { width: 4096, depth: 32, mlpWidth: 11_008 };
  const whole = decoderMACs(llava, Array(32).fill(576));
  const share = (after: number, keep: number) =>
    (decoderMACs(llava, Array.from({ length: 32 }, (_, l) => l < after ? 576 : keep)) / whole).toFixed(4);
  assert.deepEqual([0.25, 0.5, 0.75, 0.9].map((rate) => share(2, 576 * (1 - rate))), [
    ...["0.7605", "0.5244", "0.2918", "0.1538"],
  ]);
  assert.equal(share(3, 288), "0.5403");
  const mean = (counts: number[]) => counts.reduce((a, b) => a + b) / counts.length;
  assert.equal(mean([576, 288, 144, 72]), 270); // PyramidDrop
  assert.deepEqual([128, 144].map((keep) => mean([...Array(2).fill(576), ...Array(30).fill(keep)])), [156, 171]); // FastV
  assert.equal(cacheBytes(8 * 128, Array(32).fill(131_072), 2) / 2 ** 30, 16); // Llama-3.1-8B, 128 k
  assert.equal((cacheBytes(8 * 128, Array(80).fill(1e6), 2) / 1e9).toFixed(1), "327.7"); // Llama-3.1-70B, 1 M
  assert.equal(cacheBytes(4096, Array(32).fill(576), 2) / 2 ** 20, 288); // LLaVA-7B, 576 image tokens
});

Deno.test("a budget in MACs is met to half a percent, whatever the method", () => {
  for (const size of ["T", "S", "B"] as const) {
    const { shape, sizes } = model(size);
    const macs = (reducer: Reducer) => vitMACs(shape, tokenCounts(reducer, sizes));
    const whole = vitMACs(shape, Array(12).fill({ in: 197, out: 197 }));
    for (const share of [0.9, 0.75, 0.6]) {
      for (const name of ["tome", "mctf", "pitome", "atc", "pooling", "random"] as const) {
        const make = (r: number) => reducers[name]({ r: evenly(r, 12) });
        const { off } = solveBudget({ make, macs, target: share * whole, between: [0, 16] });
        assert.ok(Math.abs(off) <= 0.005, `${name} ${size} ${share}: ${off}`);
      }
      for (const name of ["topk", "evit", "kmedoids", "dpcknn"] as const) {
        const make = (keepRate: number) => reducers[name]({ keepRate });
        const { off } = solveBudget({ make, macs, target: share * whole, between: [0.1, 1] });
        assert.ok(Math.abs(off) <= 0.005, `${name} ${size} ${share}: ${off}`);
      }
    }
  }
});

Deno.test("a budget that cannot be met is refused with what comes nearest", () => {
  const { shape, sizes } = model("S");
  const macs = (reducer: Reducer) => vitMACs(shape, tokenCounts(reducer, sizes));
  const make = (r: number) => tome({ r: evenly(r, 12) });
  assert.throws(
    () => solveBudget({ make, macs, target: 9e9, between: [0, 16] }),
    /^BudgetOutOfRange: no budget costs 9\.000 GMACs to within 0\.5 %; the nearest costs 4\.599/,
  );
  assert.throws(
    () => solveBudget({ make, macs, target: -1, between: [0, 16] }),
    /a cost must be above 0, but it is -1/,
  );
});

Deno.test("tokenCounts() and the model's own count agree", async () => {
  const vit = await ViT.load("mnist");
  const sizes = { width: 48, heads: 3, layers: 4, grid: vit.grid, specialTokens: 1 };
  for (const reducer of [tome({ r: 6 }), topk({ keepRate: 0.5 }), reducers.dpcknn({ r: 5 })]) {
    assert.deepEqual(tokenCounts(reducer, sizes), vit.tokenCounts(reducer));
  }
  vit.dispose();
});

Deno.test("a schedule that is spread keeps the sum, and one that shrinks ends at its target", () => {
  for (const r of [0, 0.3, 2.5, 13]) {
    const sum = evenly(r, 12).reduce((a, b) => a + b, 0);
    assert.equal(sum, Math.floor(12 * r + 1e-9));
  }
  assert.throws(() => evenly(-1, 3), /BudgetOutOfRange: r must be a number of tokens from 0, but it is -1/);
  assert.throws(() => shrinking({ keepRate: 0, from: 1, over: 2 }), /keepRate must lie in \(0, 1\], but it is 0/);
});
