/**
 * What Deno's Jupyter kernel gets wrong, each as the fewest cells that show it. `tests/notebook/canary.ts` runs them with
 * the stock kernel and with ours; README.md has its table, and says where in Deno's source each defect lies.
 *
 * @module
 */

/** An output as a notebook saves it. */
export interface Shown {
  output_type: string;
  text?: string | string[];
  data?: Record<string, unknown>;
  ename?: string;
  evalue?: string;
  traceback?: string[];
}

/** What came of a defect's cells. */
export interface Outcome {
  /** The outputs of each cell. */
  outputs: Shown[][];
  /** Whether the first cell counts as failed: what waits behind it is not run. */
  failed: boolean;
  /** The first cell did not end within the limit. */
  hangs: boolean;
}

/** One defect. */
export interface Defect {
  /** What should be; the row of the table. */
  title: string;
  cells: string[];
  /** Stop is pressed while the first cell runs. */
  stop?: boolean;
  /** What was seen, in a few words, and whether it is right. */
  judge(outcome: Outcome): { right: boolean; seen: string };
}

const join = (text: string | string[] | undefined) => Array.isArray(text) ? text.join("") : text ?? "";
const printed = (outputs: Shown[] = []) => outputs.map(({ text }) => join(text)).join("");
const values = (outputs: Shown[] = []) =>
  outputs.filter(({ data }) => data).map(({ data }) => join(data!["text/plain"] as string | string[]));
const errorOf = (outputs: Shown[] = []) => outputs.find(({ output_type }) => output_type === "error");

/** An error with words and its place; and the cell has failed. */
function judgeError(words: RegExp, line: number): Defect["judge"] {
  return ({ outputs: [first], failed, hangs }) => {
    if (hangs) return { right: false, seen: "hangs" };
    const error = errorOf(first);
    if (!error) return { right: false, seen: failed ? "fails without a word" : "nothing, and counts as run" };
    const text = [error.ename, error.evalue, ...error.traceback ?? []].join("\n");
    const hasPlace = new RegExp(`line ${line}\\b`).test(text);
    const parts = [
      words.test(text) ? "message" : "a wrong message",
      hasPlace ? "line and column" : "no line of the cell",
      ...(failed ? [] : ["counts as run"]),
    ];
    return { right: words.test(text) && hasPlace && failed, seen: parts.join(", ") };
  };
}

/** Stop ends the first cell, and the second prints what it should. */
const judgeStop: Defect["judge"] = ({ outputs: [first, second], hangs }) => {
  if (hangs) return { right: false, seen: "goes on; the kernel is wedged until a restart" };
  const error = errorOf(first);
  const next = printed(second).trim() === "next";
  const stopped = error ? `${error.ename}: ${error.evalue}` : "ends without a word";
  return {
    right: /stopped by the user/.test(stopped) && next,
    seen: next ? stopped : `${stopped}; the next cell's output is lost`,
  };
};

function judgeValue(...expected: (string | RegExp)[]): Defect["judge"] {
  return ({ outputs }) => {
    const seen = outputs.map((cell) => values(cell)[0] ?? "nothing");
    const right = expected.every((value, k) => typeof value === "string" ? seen[k] === value : value.test(seen[k]));
    const short = seen.map((text) =>
      text.length > 60 ? `${text.slice(0, 40).replace(/\s+/g, " ")}…` : text.replace(/\s+/g, " ")
    );
    return { right, seen: short.join("; ") };
  };
}

const pause = (ms: number) => `await new Promise((done) => setTimeout(done, ${ms}))`;

/** All defects; those that may leave a kernel useless stand at the end. */
export const DEFECTS: Defect[] = [
  {
    title: "2,000 prints at a cell's end all arrive",
    cells: ["for (let k = 0; k < 2000; k++) console.log('line', k)", pause(300)],
    judge: ({ outputs: [first] }) => {
      const lines = printed(first).split("\n").length - 1;
      return { right: lines === 2000, seen: `${lines} of 2,000` };
    },
  },
  {
    title: "they do not arrive in the next cell",
    cells: ["for (let k = 0; k < 2000; k++) console.log('line', k)", `${pause(300)}; console.log('next')`],
    judge: ({ outputs: [, second] }) => {
      const strangers = printed(second).split("\n").filter((line) => /^line/.test(line)).length;
      return { right: strangers === 0, seen: strangers ? `${strangers} of them do` : "none does" };
    },
  },
  {
    title: "50 updates of a display arrive, and what follows them",
    cells: [
      `const show = (k) => Deno.jupyter.broadcast(k ? "update_display_data" : "display_data",
  { data: { "text/plain": String(k) }, metadata: {}, transient: { display_id: "d" } });
for (let k = 0; k < 50; k++) await show(k);
console.log("end");`,
      pause(300),
    ],
    judge: ({ outputs: [first] }) => {
      const last = values(first).at(-1) ?? "nothing";
      return {
        right: last === "49" && /end/.test(printed(first)),
        seen: `update ${last}, ${printed(first).trim() || "no end"}`,
      };
    },
  },
  {
    title: "8 MB in one print arrive, and what follows them",
    cells: ["console.log('x'.repeat(8e6)); console.log('after')", pause(1000)],
    judge: ({ outputs: [first] }) => {
      const text = printed(first);
      const x = text.match(/x/g)?.length ?? 0;
      return {
        right: x === 8e6 && text.endsWith("after\n"),
        seen: `${x / 1e6} MB, then ${text.endsWith("after\n") ? "what follows" : "nothing"}`,
      };
    },
  },
  {
    title: "a display of 3 MB is cut, with a line that says so",
    cells: [`await Deno.jupyter.display({ "text/plain": "x".repeat(3e6) }, { raw: true })`, pause(500)],
    judge: ({ outputs: [first] }) => {
      const size = values(first).join("").length;
      const says = /was cut/.test(printed(first));
      return { right: says && size < 1e6, seen: `${(size / 1e6).toFixed(1)} MB${says ? ", and a line" : ""}` };
    },
  },
  {
    title: "what a timer prints goes to the cell that set it",
    cells: ["setTimeout(() => console.log('late'), 100); console.log('first')", `${pause(400)}; console.log('second')`],
    judge: ({ outputs: [, second] }) => {
      const right = printed(second) === "second\n";
      return { right, seen: right ? "not to the next" : "to the next" };
    },
  },
  {
    title: "Deno.stdout and process.stdout are shown",
    cells: ["Deno.stdout.writeSync(new TextEncoder().encode('a')); process.stdout.write('b');", pause(300)],
    judge: ({ outputs: [first] }) => ({ right: printed(first) === "ab", seen: printed(first) || "nothing" }),
  },
  {
    title: "a syntax error has words",
    cells: ["const a = 1;\nconst = ;", "1"],
    judge: judgeError(/Unexpected token/, 2),
  },
  {
    title: "a failed import names its line",
    cells: ["\nimport { x } from './nowhere.ts';", "1"],
    judge: judgeError(/nowhere/, 2),
  },
  {
    title: "an unknown package has words",
    cells: ["import 'npm:tessera-no-such@1.0.0';", "1"],
    judge: judgeError(/tessera-no-such/, 1),
  },
  {
    title: "an error after a type names the line that was written",
    cells: ["type A = {\n  a: number;\n};\n\nthrow new Error('here');", "1"],
    judge: judgeError(/here/, 5),
  },
  {
    title: "an unhandled rejection fails its cell",
    cells: ["Promise.reject(new Error('lost'));\n1", "1"],
    judge: judgeError(/lost/, 1),
  },
  {
    title: "an error in a timer is shown",
    cells: [`setTimeout(() => { throw new Error('in a timer') }, 50);\n${pause(300)}`, "1"],
    judge: judgeError(/in a timer/, 1),
  },
  {
    title: "an error in a display method fails its cell",
    cells: ["({ [Symbol.for('Jupyter.display')]() { throw new Error('broken') } })", "1"],
    judge: judgeError(/broken/, 1),
  },
  { title: "NaN, 1n and null are shown", cells: ["NaN", "1n", "null"], judge: judgeValue("NaN", "1n", "null") },
  {
    title: "typed arrays, maps and sets are shown",
    cells: ["new Float32Array([1, 2])", "new Map([['a', 1]])", "new Set([1])"],
    judge: judgeValue(/^Float32Array\(2\)/, /^Map\(1\)/, /^Set\(1\)/),
  },
  {
    title: "a tensor shows shape, type, values, range",
    cells: [`import { tf } from "tessera/tensor/mod.ts";\ntf.tensor2d([[1, 2], [3, 4]])`],
    judge: judgeValue(/float32 \[2, 2\]\s+1, 2, 3, 4\s+min 1, mean 2\.5, max 4/),
  },
  {
    title: "an object of 500 keys is folded",
    cells: ["Object.fromEntries(Array.from({ length: 500 }, (_, k) => ['key' + k, [k, k]]))"],
    judge: ({ outputs: [first] }) => {
      const lines = (values(first)[0] ?? "").split("\n").length;
      return { right: lines < 150, seen: `${lines} lines` };
    },
  },
  {
    title: "Stop ends a synchronous loop",
    cells: ["while (true);", "console.log('next')"],
    stop: true,
    judge: judgeStop,
  },
  {
    title: "Stop ends tensor work",
    cells: [
      `import { tf } from "tessera/tensor/mod.ts";\nwhile (true) tf.tidy(() => tf.matMul(tf.ones([256, 256]), tf.ones([256, 256])).dataSync());`,
      "console.log('next')",
    ],
    stop: true,
    judge: judgeStop,
  },
  {
    title: "Stop ends an await",
    cells: [`while (true) ${pause(50)}`, "console.log('next')"],
    stop: true,
    judge: judgeStop,
  },
];
