import assert from "node:assert/strict";
import { cacheFigure, textFigure, type TextLook } from "tessera/plot/mod.ts";

interface Slider {
  steps: { label: string; args: [{ visible: boolean[] }, Record<string, string>] }[];
}

Deno.test("the microscope over a cache shows heads, tokens and what is lost, at each time of its slider", () => {
  const frames = [
    { time: 2, held: [[1, 1], [1, 0]], lost: [0, 0.5] },
    { time: 3, held: [[0, 1, 1], [1, 0, 1]], lost: [0.25, 0.25] },
  ];
  const fig = cacheFigure(frames, { heads: ["0.0", "0.1"], tokens: ["a", "b", "c"], prompt: 2, active: 0 });
  const [{ steps }] = fig.layout.sliders as Slider[];
  assert.deepEqual(steps.map(({ label }) => label), ["2", "3"]);
  assert.deepEqual(steps[1].args[0].visible, [false, false, true, true]);
  assert.equal(steps[1].args[1]["annotations[0].text"], "4 of 6 slots held; 25 % of the attention lost");
  assert.deepEqual(fig.data.map(({ visible }) => visible), [true, true, false, false]);
  assert.deepEqual([fig.data[2].z, fig.data[3].x], [[[0, 1, 1], [1, 0, 1]], [0.25, 0.25]]);
  assert.match(fig.alt, /at 2 tokens 3 of 4 slots are held, and 25 %/);
  assert.throws(() => cacheFigure([]), /needs at least one frame/);
  assert.throws(
    () => cacheFigure([frames[0], { time: 3, held: [[1, 1, 1]], lost: [0] }]),
    /the same heads, .* 2 and 1/,
  );
  assert.throws(() => cacheFigure(frames, { active: 2 }), /active must be a frame, 0 to 1, but it is 2/);
});

const text = "a <b> fox\njumps";
const look: TextLook = {
  text,
  starts: [0, 1, 5, 9],
  ends: [1, 5, 9, 15],
  layers: [
    { label: "1", kept: [1, 1, 1, 1], score: [3, 1, 2, NaN] },
    { label: "2", kept: [0, 1, 0, 1], score: [0, 5, 0, 9] },
  ],
};

Deno.test("the microscope over a text shades by rank what stays, and strikes through what is dropped", () => {
  const fig = textFigure(look, { columns: 12 });
  const [shade, kept, dropped] = fig.data.slice(3);
  assert.deepEqual(fig.data.map(({ name }) => name), ["score", "kept", "dropped", "score", "kept", "dropped"]);
  assert.deepEqual(kept.text, ["&lt;b&gt;", "jumps"]);
  assert.deepEqual(dropped.text, ["<s>a</s>", "<s>fox</s>"]);
  assert.deepEqual([kept.y, kept.x], [[0, 1], [3, 2]]); // in the middle of what is seen; the text's own end of a line holds
  const rows = shade.z as (number | null)[][];
  assert.deepEqual(rows[0], [null, 0.5, 0.5, 0.5, 0.5, ...Array(7).fill(null)]);
  assert.deepEqual(rows[1], [...Array(5).fill(1), ...Array(7).fill(null)]);
  assert.equal((fig.data[0].z as number[][])[0][0], 1); // the highest of three ranks
  assert.match(fig.alt, /slider over layer; shown is 2. 2 of 4 tokens stay: " <b>", "\\njumps"/);
});

Deno.test("a text breaks between words, and a token longer than a line is cut", () => {
  const layers = [{ label: "all", kept: [1, 1, 1], score: [1, 1, 1] }];
  const fig = textFigure({ text: "one twothreefour", starts: [0, 3, 7], ends: [3, 7, 16], layers }, { columns: 6 });
  assert.deepEqual(fig.data[1].text, ["one", "two", "thr", "eefour"]);
  assert.deepEqual(fig.data[1].y, [0, 1, 1, 2]);
  assert.equal(fig.layout.sliders, undefined);
  assert.throws(() => textFigure({ ...look, ends: [1] }), /there are 4 starts and 1 in another list/);
  assert.throws(() => textFigure({ ...look, layers: [] }), /at least one layer/);
  assert.throws(() => textFigure(look, { active: 7 }), /active must be a layer, 0 to 1, but it is 7/);
});
