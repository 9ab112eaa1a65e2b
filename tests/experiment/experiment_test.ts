import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import {
  besidePaper,
  cellsOf,
  collect,
  defineExperiment,
  type Experiment,
  fromCSV,
  hashOfData,
  keyOf,
  markdownTable,
  type Row,
  runExperiment,
  Store,
  toCSV,
} from "tessera/experiment/mod.ts";

const fixed = { version: 1, question: "?", row: () => ({ y: 1 }) };

async function inFolder(action: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tessera-experiment-" });
  try {
    await action(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** An experiment that notes which rows it computes. */
function counting(version = 1) {
  const computed: string[] = [];
  const experiment = defineExperiment({
    name: "counting",
    version,
    question: "Which rows are computed?",
    grid: { method: ["tome", "evit"], keepRate: [1, 0.5] },
    seeds: [1, 2],
    row({ method, keepRate }, { seed }) {
      computed.push(`${method} ${keepRate} ${seed}`);
      return { score: keepRate * seed, label: `"${method}", they say` };
    },
  });
  return { experiment, computed };
}

Deno.test("a misspelt setting or value does not compile", () => {
  defineExperiment({
    ...fixed,
    name: "typed",
    grid: { method: ["tome", "evit"] },
    row({ method }) {
      // @ts-expect-error: no such method
      if (method === "tomme") return { y: 0 };
      return { y: 1 };
    },
  });
});

Deno.test("rows are computed once; a second run computes what is missing, of another version all", () =>
  inFolder(async (folder) => {
    const { experiment, computed } = counting();
    const options = { folder, backend: "none" };
    const first = await runExperiment(experiment, { ...options, only: ({ method }) => method === "tome" });
    assert.deepEqual({ ...first, failed: first.failed.length }, { ran: 4, kept: 0, failed: 0 });
    const second = await runExperiment(experiment, options);
    assert.deepEqual([second.ran, second.kept], [4, 4]);
    assert.equal(new Set(computed).size, 8);
    const newer = counting(2);
    assert.equal((await runExperiment(newer.experiment, options)).ran, 8);
    assert.equal((await runExperiment(experiment, { ...options, again: true })).ran, 8);
    assert.equal(computed.length, 16);
  }));

Deno.test("collected rows come back as they were, in the order of the grid, and need no store", () =>
  inFolder(async (folder) => {
    const { experiment, computed } = counting();
    await runExperiment(experiment, { folder, backend: "none" });
    const rows = await collect(experiment, { folder });
    assert.deepEqual(rows.slice(0, 3).map((row) => [row.method, row.keepRate, row.seed, row.score]), [
      ["tome", 1, 1, 1],
      ["tome", 1, 2, 2],
      ["tome", 0.5, 1, 0.5],
    ]);
    assert.deepEqual(Object.keys(rows[0]).slice(-4), ["key", "seconds", "commit", "backend"]);
    await Deno.remove(`${folder}/rows`, { recursive: true }); // as in a fresh clone
    assert.deepEqual(await collect(experiment, { folder }), rows);
    assert.equal((await runExperiment(experiment, { folder })).kept, 8);
    assert.equal(computed.length, 8);
    assert.deepEqual(await collect(counting(2).experiment, { folder }), [], "rows of another version are left out");
  }));

Deno.test("a row that fails is told, the others go on, and the next run tries it again", () =>
  inFolder(async (folder) => {
    let broken = true;
    const experiment = defineExperiment({
      ...fixed,
      name: "failing",
      grid: { n: [1, 2, 3] },
      row({ n }) {
        if (n === 2 && broken) throw new Error("no luck");
        return { n2: n * n };
      },
    });
    const told: string[] = [];
    const report = await runExperiment(experiment, {
      folder,
      backend: "none",
      onRow: ({ task, error }) => told.push(`${task.cell.n} ${error ?? "done"}`),
    });
    assert.deepEqual(told, ["1 done", "2 Error: no luck", "3 done"]);
    assert.deepEqual([report.ran, report.failed.length], [2, 1]);
    broken = false;
    assert.deepEqual((await runExperiment(experiment, { folder, backend: "none" })).ran, 1);
  }));

Deno.test("several rows of one cell share its key", () =>
  inFolder(async (folder) => {
    const experiment = defineExperiment({
      ...fixed,
      name: "several",
      grid: { workload: ["a"] },
      row: () => [{ system: "ours", ms: 1 }, { system: "theirs", ms: 2 }],
    });
    await runExperiment(experiment, { folder, backend: "none" });
    const rows = await collect(experiment, { folder });
    assert.deepEqual(rows.map(({ system }) => system), ["ours", "theirs"]);
    assert.equal(new Set(rows.map(({ key }) => key)).size, 1);
  }));

Deno.test("of two writers of one row the first wins", () =>
  inFolder(async (folder) => {
    const row = (y: number) => ({
      key: "k",
      cell: {},
      seed: 1,
      results: [{ y }],
      seconds: 0,
      commit: "",
      backend: "",
    });
    const store = new Store(folder);
    const added = await Promise.all([1, 2, 3].map((y) => new Store(folder).add(row(y))));
    assert.equal(added.filter(Boolean).length, 1);
    assert.deepEqual(store.get("k")!.results, [{ y: added.indexOf(true) + 1 }]);
    assert.deepEqual([...Deno.readDirSync(`${folder}/rows`)].map(({ name }) => name), ["k.json"]);
    await Deno.writeTextFile(`${folder}/rows/k.json`, '{"key":');
    assert.throws(() => store.get("k"), /cannot be read as a row; delete it, and the row is run again/);
  }));

Deno.test("a row's key depends on configuration, seed, data and version, not on the order of settings", () =>
  inFolder(async (folder) => {
    const file = `${folder}/data.txt`;
    await Deno.writeTextFile(file, "1");
    const before = hashOfData([pathToFileURL(folder)]);
    assert.equal(hashOfData([pathToFileURL(folder)]), before);
    await Deno.writeTextFile(file, "2");
    const after = hashOfData([pathToFileURL(folder)]);
    const key = (version: number, r: number, seed: number, data: string) =>
      keyOf({ name: "e", version }, { r, method: "tome" }, seed, data);
    const keys = [key(1, 8, 1, before), key(2, 8, 1, before), key(1, 9, 1, before), key(1, 8, 2, before)];
    assert.equal(new Set([...keys, key(1, 8, 1, after)]).size, 5);
    assert.throws(
      () => hashOfData([pathToFileURL(`${folder}/gone`)]),
      /which an experiment names as its data; restore it/,
    );
  }));

Deno.test("CSV keeps what is text, number, true, false and nothing, and names what is wrong with it", () => {
  const rows: Row[] = [
    { text: 'a "quoted", one\nof two lines', number: -1.5e-7, is: true, none: null },
    { text: "12", number: 0, is: false, none: null },
    { text: "", number: 3, is: true, none: "x" },
  ];
  assert.deepEqual(fromCSV(toCSV(rows)), rows);
  assert.deepEqual(fromCSV("a,b\r\n1,x y\r\n"), [{ a: 1, b: "x y" }]);
  assert.throws(
    () => fromCSV("a,b\n1\n", "paper.csv"),
    /line 2 of paper\.csv has 1 fields, but its first line names 2/,
  );
  assert.throws(() => fromCSV('a\nx"y\n', "paper.csv"), /line 2 of paper\.csv has a quote in the wrong place/);
  assert.throws(() => toCSV([{ y: NaN }]), /column y of a row holds NaN; put null/);
});

Deno.test("the paper's numbers stand beside the mean over seeds; a missing row is a gap, not a zero", () =>
  inFolder(async (folder) => {
    const table = pathToFileURL(`${folder}/paper.csv`);
    const paper = { cite: "", table, compare: "accuracy" };
    await Deno.writeTextFile(table, "method,accuracy,page\ntome,0.8,4\nevit,0.7,4\n");
    const rows = [1, 2, 3].map((seed) => ({ method: "tome", seed, accuracy: 0.5 + seed / 10 }));
    const [tome, evit] = await besidePaper(rows, paper);
    assert.deepEqual({ ...tome, ours: null, difference: null }, {
      method: "tome",
      page: 4,
      ours: null,
      lowest: 0.6,
      highest: 0.8,
      rows: 3,
      paper: 0.8,
      difference: null,
    });
    assert.ok(Math.abs((tome.ours as number) - 0.7) < 1e-12 && Math.abs((tome.difference as number) + 0.1) < 1e-12);
    assert.deepEqual([evit.ours, evit.rows, evit.difference], [null, 0, null]);
    assert.match(markdownTable([tome, evit]), /\| tome \| 4 \| 0\.700 \|[^\n]+\n\| evit \| 4 \| - \|/);
    await assert.rejects(besidePaper(rows, { ...paper, compare: "auroc" }), /has no column auroc/);
    await assert.rejects(besidePaper([{ a: 1 }], paper), /shares no column with the rows \(a\)/);
  }));

Deno.test("a declaration that makes no sense is refused in one sentence", () => {
  const define = (changes: object) => () => defineExperiment({ ...fixed, name: "e", grid: { a: [1] }, ...changes });
  assert.throws(
    define({ name: "../e" }),
    /an experiment's name is that of a folder, .* but it is "\.\.\/e"; rename it/,
  );
  assert.throws(define({ version: 0 }), /the version of experiment e must be a whole number from 1, but it is 0/);
  assert.throws(define({ grid: { a: [] } }), /the setting a of experiment e needs one value at least/);
  assert.throws(define({ grid: { a: [1, 1] } }), /and none twice, but it is \[1,1\]/);
  assert.throws(define({ grid: { seed: [1] } }), /may not be called like a recorded column/);
  assert.throws(define({ seeds: [0.5] }), /the list of seeds of experiment e must hold one integer at least/);
  assert.equal(cellsOf({ grid: { a: [1, 2], b: [3] }, seeds: [1, 2] }).length, 4);
});

Deno.test("no row that fits, and a result called like a setting, are refused", () =>
  inFolder(async (folder) => {
    const run = (experiment: Experiment, only = (_: Row) => true) =>
      runExperiment(experiment, { folder, backend: "none", only });
    const experiment = defineExperiment({ ...fixed, name: "e", grid: { a: [1] } });
    await assert.rejects(run(experiment as Experiment, () => false), /experiment e has no row that fits/);
    const taken = defineExperiment({ ...fixed, name: "e", grid: { a: [1] }, row: () => ({ a: 2 }) });
    const { failed } = await run(taken as Experiment);
    assert.match(String(failed[0].error), /gives a, which every row has already; call it otherwise/);
  }));
