/** Wrappers against what is inside them, and the one sentence for each kind of bad input. */
import assert from "node:assert/strict";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { applyMap, clamped, membership, type SlotMap, type TokenMap } from "../../lib/nn/token_map.ts";
import type { BlockView, Reducer } from "../../lib/nn/reducer.ts";
import {
  BatchBudgetMismatch,
  BudgetConflict,
  BudgetOutOfRange,
  Clamped,
  GridMismatch,
  NaNScore,
  NeedsMissing,
} from "../../lib/nn/reduction_errors.ts";
import {
  catalogue,
  classAttentionScore,
  compose,
  inSequence,
  isolation,
  joinNearest,
  type LayerBudget,
  mix,
  pack,
  padded,
  perFrame,
  perWindow,
  protect,
  randomScore,
  recycle,
  type ReducerName,
  reducers,
} from "../../lib/reduction/mod.ts";
import { randomBlock } from "../../lib/reduction/laws.ts";
import { oneImage, takeTokens } from "../../lib/reduction/views.ts";

const names = Object.keys(reducers) as ReducerName[];

/** A block of 4 x 6 patches with a class token. */
function block(): BlockView {
  for (let seed = 1;; seed++) {
    const { view } = randomBlock(seed);
    if (view.specialTokens === 1 && view.grid[0] % 2 === 0 && view.grid[1] % 3 === 0 && view.x.shape[0] > 1) {
      return view;
    }
  }
}

const slotsOf = (map: TokenMap) => (map as SlotMap).slot.arraySync();
const close = (a: tf.Tensor, b: tf.Tensor) => tf.sub(a, b).abs().max().dataSync()[0];

Deno.test("in windows a reducer does what it does on each window alone", () => {
  tidy(() => {
    const view = block();
    const [rows, columns] = view.grid;
    const wrapped = perWindow(reducers.topk({ r: 2 }), [2, 3]);
    const map = wrapped.reduce(view) as SlotMap;
    const count = rows * columns / 6;
    assert.deepEqual(map.budget, { requested: 2 * count, achieved: 2 * count });
    const dropped = slotsOf(map)[0].flatMap((slot, token) => slot < 0 ? [token - 1] : []);
    const inWindow = dropped.map((patch) => {
      const row = Math.floor(patch / columns), column = patch % columns;
      return Math.floor(row / 2) * (columns / 3) + Math.floor(column / 3);
    });
    for (let window = 0; window < count; window++) assert.equal(inWindow.filter((w) => w === window).length, 2);
    // the first window, alone
    const first = [0, ...[0, 1, 2, columns, columns + 1, columns + 2].map((patch) => patch + 1)];
    const alone = reducers.topk({ r: 2 }).reduce({ ...takeTokens(view, first), initialTokens: 7, grid: [2, 3] });
    const expected = slotsOf(alone)[0].flatMap((slot, i) => slot < 0 ? [first[i]] : []);
    assert.deepEqual(dropped.filter((_, i) => inWindow[i] === 0).map((patch) => patch + 1), expected);
    const sizes = applyMap(map, view.x, view.size).size.sum(1);
    assert.ok(close(sizes, tf.mul(membership(map).sum(1), view.size).sum(1)) < 1e-4);
  });
});

Deno.test("frames are reduced by the same number, and merges stay within a frame", () => {
  tidy(() => {
    const view = block();
    const patches = view.tokens - 1;
    const map = perFrame(reducers.tome({ r: 1 }), 2).reduce(view);
    assert.equal(map.outputs, view.tokens - 2);
    const frame = (token: number) => Math.floor((token - 1) / (patches / 2));
    for (const row of slotsOf(map)) {
      for (const members of Map.groupBy(row.map((slot, token) => ({ slot, token })), ({ slot }) => slot).values()) {
        const frames = new Set(members.filter(({ token }) => token > 0).map(({ token }) => frame(token)));
        assert.ok(frames.size <= 1);
      }
    }
  });
});

Deno.test("protected patches stay as they are, behind the class token, whatever the method", () => {
  for (const name of names) {
    tidy(() => {
      const view = block();
      if (name === "pooling" || name === "nestedPooling") { // they go by the whole grid
        const refused = protect(reducers[name]({ r: 4 }), [3]);
        return assert.throws(() => refused.plan(view), (error: Error) => error instanceof GridMismatch);
      }
      const reducer = protect(reducers[name]({ r: 4 } as LayerBudget), [3, 1]);
      if (reducer.plan(view).achieved === 0) return;
      const { x } = applyMap(reducer.reduce(view), view.x, view.size);
      for (const [place, patch] of [3, 1].entries()) {
        const kept = x.slice([0, 1 + place, 0], [-1, 1, -1]);
        assert.ok(close(kept, view.x.slice([0, 1 + patch, 0], [-1, 1, -1])) < 1e-5, name);
      }
    });
  }
});

Deno.test("what is recycled keeps its mass, and one reducer after another composes", () => {
  tidy(() => {
    const view = block();
    const again = recycle(reducers.topk({ r: 6 }), 2).reduce(view);
    assert.equal(again.outputs, view.tokens - 4);
    const size = applyMap(again, view.x, view.size).size;
    assert.ok(close(size.sum(1), view.size.sum(1)) < 1e-4);
    const both = inSequence(reducers.topk({ r: 3 }), reducers.tome({ r: 2 }));
    assert.deepEqual(both.plan(view), { requested: 5, achieved: 5 });
    assert.equal(both.reduce(view).outputs, view.tokens - 5);
  });
});

Deno.test("hybrids of score, selection and combination are one line each", () => {
  tidy(() => {
    const view = block();
    const hybrids = [
      compose({ score: classAttentionScore, combine: joinNearest() }),
      compose({ score: classAttentionScore, select: mix(isolation, 0.5), combine: pack }),
      compose({ score: isolation, combine: joinNearest({ combine: "mlerp" }) }),
      compose({ score: randomScore, select: mix(classAttentionScore, 0.25) }),
    ];
    for (const hybrid of hybrids) {
      const reducer = hybrid({ r: 5 });
      const map = reducer.reduce(view);
      assert.equal(map.outputs, view.tokens - 5, reducer.name);
      const { x, size } = applyMap(map, view.x, view.size);
      assert.ok(!tf.isNaN(x).any().dataSync()[0] && size.min().dataSync()[0] > 0, reducer.name);
    }
    // the first one, by its parts: Top-K's choice, and nothing lost
    const topk = slotsOf(reducers.topk({ r: 5 }).reduce(view));
    const joined = slotsOf(hybrids[0]({ r: 5 }).reduce(view));
    topk.forEach((row, image) => row.forEach((slot, token) => slot >= 0 && assert.equal(joined[image][token], slot)));
    assert.ok(joined.flat().every((slot) => slot >= 0));
  });
});

Deno.test("padding changes nothing, whatever the method", () => {
  for (const name of names) {
    if (name === "random" || name === "randomBipartite") continue; // what they draw depends on the whole batch
    tidy(() => {
      const view = oneImage(block(), 0);
      const reducer = reducers[name]({ r: 4 } as LayerBudget);
      const place = { ...view, grid: [1, view.tokens - 1] as const };
      if (reducer.plan(place).achieved !== reducer.plan({ ...place, tokens: view.tokens + 3 }).achieved) return;
      const alone = reducer.reduce(place);
      if (alone.kind === "soft") return;
      const more = (t: tf.Tensor, ...axes: number[]) =>
        tf.pad(t, t.shape.map((_, axis) => [0, axes.includes(axis) ? 3 : 0] as [number, number]));
      const { x, size, keys, queries, values, attention, positions } = view;
      const longer = {
        ...view,
        tokens: view.tokens + 3,
        x: more(x, 1),
        size: more(size, 1),
        keys: more(keys!, 2),
        queries: more(queries!, 2),
        values: more(values!, 2),
        attention: more(attention!, 2, 3),
        positions: more(positions!, 1),
      } as BlockView;
      const [row] = slotsOf(padded(reducer).reduce(longer));
      assert.deepEqual(row, [...slotsOf(alone)[0], -1, -1, -1], name);
    });
  }
});

Deno.test("each kind of bad input gets one sentence of its own type", () => {
  tidy(() => {
    const view = block();
    const sentence = (type: new (...args: never[]) => Error, message: RegExp) => (error: Error) => {
      assert.ok(error instanceof type, `${error.name} is no ${type.name}: ${error.message}`);
      assert.equal(error.name, type.name);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    };
    for (const name of names) {
      const make = (budget: unknown) => () => reducers[name](budget as LayerBudget);
      assert.throws(
        make({ r: 1, keepRate: 0.5 }),
        sentence(BudgetConflict, /one of r, keepRate and keep, but r and keep/),
      );
      assert.throws(make({}), sentence(BudgetConflict, /none was given; pass r, keepRate or keep/));
      assert.throws(
        make({ keepRate: 1.5 }),
        sentence(BudgetOutOfRange, /keepRate must lie in \(0, 1\], but it is 1.5/),
      );
      assert.throws(
        make({ r: -1 }),
        sentence(BudgetOutOfRange, /r must be a whole number of tokens from 0, but it is -1/),
      );
      const reducer = reducers[name]({ r: 2 } as LayerBudget);
      const { x, size, layer, layers, tokens, initialTokens, specialTokens, grid } = view;
      const bare = { x, size, layer, layers, tokens, initialTokens, specialTokens, grid };
      if (reducer.needs.length && name !== "kmedoids") { // before the first block K-Medoids does without attention
        assert.throws(
          () => reducer.reduce(bare),
          sentence(NeedsMissing, new RegExp(`needs \\w+, but the model gives none`)),
        );
      }
      const broken = reducer.needs.filter((field) => field === "keys" || field === "attention");
      if (broken.length) {
        const nan = Object.fromEntries(broken.map((field) => [field, tf.fill(view[field]!.shape, NaN)]));
        const all = { ...view, ...nan, x: tf.fill(x.shape, NaN) } as BlockView;
        assert.throws(() => reducer.reduce(all), sentence(NaNScore, /the score of [\w -]+ in block \d holds NaN/));
      }
    }
    assert.throws(
      () => perWindow(reducers.topk({ r: 1 }), [5, 5]).reduce(view),
      sentence(GridMismatch, /windows of 5 x 5 do not tile a grid of \d x \d; take divisors/),
    );
    assert.throws(
      () => reducers.tomesd({ r: 1, cell: [0, 2] }).plan(view),
      sentence(GridMismatch, /a cell of 0 x 2 does not fit a grid/),
    );
    assert.throws(
      () => protect(reducers.topk({ r: 1 }), [99]).plan(view),
      sentence(GridMismatch, /patch 99 is to be protected, but the last one is/),
    );
    const ragged = (real: number) => {
      const short = tf.concat([tf.ones([1, real]), tf.zeros([1, view.tokens - real])], 1);
      return tf.concat([view.size.slice([0], [1]), short.tile([view.x.shape[0] - 1, 1])], 0) as tf.Tensor2D;
    };
    assert.throws(
      () => padded(reducers.topk({ r: 6 }), { uniform: true }).reduce({ ...view, size: ragged(3) }),
      sentence(BatchBudgetMismatch, /image 1 has 3 real tokens, of which 1 can go where 6 go of the whole batch/),
    );
    assert.throws(
      () => padded(reducers.topk({ r: 6 })).reduce({ ...view, size: ragged(1) }),
      sentence(BatchBudgetMismatch, /image 1 has no real token, only padding; leave it out of the batch/),
    );
    const growing: Reducer = {
      ...reducers.topk({ r: 6 }),
      plan: ({ tokens }) => ({ requested: 6, achieved: tokens === view.tokens ? 6 : 0 }),
    };
    assert.throws(
      () => padded(growing).reduce({ ...view, size: ragged(view.tokens - 1) }),
      sentence(BatchBudgetMismatch, /topk leaves image 1 \d+ tokens of \d+, more than the \d+ of the whole batch/),
    );
    const network: Reducer = {
      ...reducers.topk({ r: 6 }),
      name: "resampler",
      reduce: ({ tokens }) => ({
        kind: "soft",
        tokens,
        outputs: tokens - 6,
        matrix: tf.ones([1, tokens - 6, tokens]),
        transform: (x) => x,
        budget: { requested: 6, achieved: 6 },
      }),
    };
    assert.throws(
      () => padded(network).reduce({ ...view, size: ragged(view.tokens - 1) }),
      sentence(BatchBudgetMismatch, /resampler makes its outputs by a network that knows no padding; group images/),
    );
  });
});

Deno.test("images of different real lengths each have their own budget", () => {
  tidy(() => {
    const whole = block();
    const view = oneImage(whole, 0), real = view.tokens - 4;
    const two = <T extends tf.Tensor>(t: T): T => tf.concat([t, t], 0) as T;
    const short = tf.concat([tf.ones([1, real]), tf.zeros([1, 4])], 1) as tf.Tensor2D;
    const size = tf.concat([tf.ones<tf.Rank.R2>([1, view.tokens]), short], 0);
    const { layer, layers, tokens, initialTokens, specialTokens, grid } = view;
    const place = { layer, layers, tokens, initialTokens, specialTokens, grid };
    const batch = { ...place, x: two(view.x), attention: two(view.attention!), size };
    const left = (reducer: Reducer) =>
      applyMap(padded(reducer).reduce(batch), batch.x, size).size.arraySync().map((row) =>
        row.filter((s) => s > 0).length
      );
    assert.deepEqual(left(reducers.topk({ r: 3 })), [view.tokens - 3, real - 3]);
    const half = (patches: number) => view.specialTokens + Math.floor(patches / 2);
    const rated = reducers.topk({ keepRate: 0.5, layers: [view.layer] });
    assert.deepEqual(left(rated), [view.tokens, real].map((tokens) => half(tokens - view.specialTokens)));
  });
});

Deno.test("a vector of zeros is similar to nothing and breaks nothing, whatever the method", () => {
  for (const name of names) {
    tidy(() => {
      const view = block();
      const blank = (t: tf.Tensor, axis: number) => {
        const mask = tf.tensor1d(Float32Array.from({ length: t.shape[axis] }, (_, i) => i === 3 ? 0 : 1));
        return tf.mul(t, mask.reshape(t.shape.map((_, a) => a === axis ? -1 : 1)));
      };
      const odd = {
        ...view,
        x: blank(view.x, 1),
        keys: blank(view.keys!, 2),
        values: blank(view.values!, 2),
      } as BlockView;
      const { x } = applyMap(reducers[name]({ r: 4 } as LayerBudget).reduce(odd), odd.x, odd.size);
      assert.ok(!tf.isNaN(x).any().dataSync()[0], name);
    });
  }
});

Deno.test("what was clamped is a warning with its reason", () => {
  const view = block();
  const warning = clamped(reducers.tome({ r: 99 }).plan(view));
  assert.ok(warning instanceof Clamped);
  assert.match(
    warning.message,
    /^99 tokens were to go, but \d+ did: at most half of the \d+ unprotected tokens can merge/,
  );
  assert.equal(clamped(reducers.tome({ r: 1 }).plan(view)), undefined);
});

Deno.test("the catalogue shows itself whole, family by family, and takes one's own", async () => {
  for (const row of catalogue.rows({ seeds: 0 })) {
    for (const column of ["family", "paper", "section", "needs", "golden", "cost", "differs"]) {
      assert.ok(String(row[column]).length > 0, `${row.method} says nothing of ${column}`);
    }
  }
  assert.match(String(catalogue.row("topk", { seeds: 1 }).laws), /^\d+ of \d+/);
  const extended = catalogue.with("my own", {
    ...catalogue.get("tome"),
    differs: `from nothing${" at all".repeat(30)}`,
  });
  const bundle = extended[Symbol.for("Jupyter.display") as keyof object] as () => Promise<Record<string, string>>;
  const { "text/html": html, "text/plain": plain } = await bundle.call(extended);
  for (const name of extended.names) assert.match(html, new RegExp(`<td[^>]*>${name}</td>`));
  assert.ok(html.includes("at all.</td>"), "what differs is cut");
  const merging = extended.names.filter((name) => extended.get(name).family === "merge");
  const lines = plain.split("\n"), heading = lines.indexOf(`merge: ${merging.length}`);
  assert.ok(lines[heading + 2 * merging.length - 1].startsWith("my own"), "one's own is the last of its family");
  assert.ok(lines.at(-1)!.startsWith(`${catalogue.names.length + 1} rows`));
  assert.throws(() => catalogue.with("topk", catalogue.get("tome")), /has a method topk already; take another name/);
});
