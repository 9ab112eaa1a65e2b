/** Rows in a pool of processes: failures, deaths, Stop, a full disk, many short rows. */
import assert from "node:assert/strict";
import { fromCSV, Store } from "../../lib/experiment/mod.ts";
import { Laboratory } from "./laboratory.ts";

Deno.test("a failing row and one that takes its process down are recorded, the others go on, the exit code is 1", async () => {
  using lab = new Laboratory();
  lab.declare(
    "trial",
    `grid: { a: [1, 2, 3, 4, 5] }, row({ a }) {
      console.log("a row may print");
      if (a === 2) throw new Error("two is too many");
      if (a === 4) Deno.exit(7);
      return { square: a * a };
    }`,
  );
  const first = await lab.run("command", ["run", "trial", "--workers", "2"]);
  assert.equal(first.code, 1, first.err);
  assert.match(first.out, /3 rows computed, 0 were there, 2 failed/);
  assert.match(first.out, /FAILED: two is too many/);
  assert.match(first.out, /FAILED: its process ended \(exit code 7/);
  assert.match(first.out, /5\/5 /);
  const folder = `${lab.folder}/trial`;
  const failures = new Store(folder).failures();
  assert.deepEqual(failures.map(({ cell }) => cell.a).sort(), [2, 4]);
  assert.ok(failures.some(({ error }) => error.includes("two is too many")));
  const squares = () => fromCSV(Deno.readTextFileSync(`${folder}/rows.csv`)).map(({ square }) => square);
  assert.deepEqual(squares(), [1, 9, 25]);

  // mended, only what is missing is computed, and nothing is on record as failed
  lab.declare("trial", "grid: { a: [1, 2, 3, 4, 5] }, row: ({ a }) => ({ square: a * a })");
  const second = await lab.run("command", ["run", "trial"]);
  assert.equal(second.code, 0, second.err);
  assert.match(second.out, /2 rows computed, 3 were there, 0 failed/);
  assert.deepEqual(squares(), [1, 4, 9, 16, 25]);
  assert.deepEqual(new Store(folder).failures(), []);
  assert.match((await lab.run("command", ["status", "trial"])).out, /5 of 5 rows done, 0 missing, 0 failed/);
});

Deno.test("Ctrl-C loses no row that is done, and the same command goes on from there", async () => {
  using lab = new Laboratory();
  lab.declare(
    "slow",
    `grid: { a: [1, 2, 3, 4] }, async row({ a }) {
      if (a > 2 && !Deno.env.get("QUICK")) await new Promise((done) => setTimeout(done, 60_000));
      return { a2: a * a };
    }`,
  );
  const child = lab.start("command", ["run", "slow", "--workers", "1"]);
  const status = child.output();
  while (!exists(`${lab.folder}/slow/rows`) || lab.rows("slow").length < 2) {
    await new Promise((go) => setTimeout(go, 50));
  }
  child.kill("SIGINT");
  const { code, stderr } = await status;
  assert.equal(code, 130);
  assert.match(new TextDecoder().decode(stderr), /stopped; rows that are done are kept/);
  const again = await lab.run("command", ["run", "slow"], { QUICK: "1" });
  assert.match(again.out, /2 rows computed, 2 were there, 0 failed/);
});

Deno.test("--rows names rows by their numbers; --fast is the same code with its own rows", async () => {
  using lab = new Laboratory();
  lab.declare(
    "trial",
    `grid: { a: [1, 2, 3, 4] }, seeds: [1, 2], fast: { grid: { a: [1, 4] } },
    row: ({ a }, { fast }) => ({ images: fast ? a : 100 * a })`,
  );
  assert.match((await lab.run("command", ["run", "trial", "--rows", "3..4"])).out, /2 rows computed/);
  const images = (path: string) =>
    fromCSV(Deno.readTextFileSync(`${lab.folder}/trial/${path}`)).map(({ images, seed }) => [images, seed]);
  assert.deepEqual(images("rows.csv"), [[200, 1], [200, 2]]);
  assert.match((await lab.run("command", ["run", "trial", "--fast"])).out, /2 rows computed/);
  assert.deepEqual(images("fast/rows.csv"), [[1, 1], [4, 1]]);
  assert.deepEqual(images("rows.csv"), [[200, 1], [200, 2]]);
});

Deno.test("short rows are lines of one file per writer; a torn line is no row, and doubles count once", async () => {
  using lab = new Laboratory();
  lab.declare("short", "rowSeconds: 0.01, grid: { a: [1, 2, 3] }, row: ({ a }) => ({ a2: a * a })");
  await lab.run("command", ["run", "short", "--rows", "1..2"]);
  const parts = `${lab.folder}/short/rows/parts`;
  const [name] = [...Deno.readDirSync(parts)].map(({ name }) => name);
  const text = Deno.readTextFileSync(`${parts}/${name}`);
  assert.equal(text.trim().split("\n").length, 2);
  const [line] = text.split("\n");
  const later = { ...JSON.parse(line), results: [{ a2: -1 }], done: Date.now() + 1000 };
  Deno.writeTextFileSync(`${parts}/other.jsonl`, JSON.stringify(later) + "\n" + line.slice(0, 40));
  const again = await lab.run("command", ["run", "short"]);
  assert.match(again.out, /1 rows computed, 2 were there, 0 failed/);
  const rows = fromCSV(Deno.readTextFileSync(`${lab.folder}/short/rows.csv`));
  assert.deepEqual(rows.map(({ a2 }) => a2), [1, 4, 9]);
});

Deno.test("a full disk stops the run in one sentence, and rows before it are kept", async (t) => {
  using lab = new Laboratory();
  // each row holds 100 kB, and the disk 1 MB
  lab.declare(
    "large",
    `grid: { a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] }, row: () => ({ text: "x".repeat(100_000) })`,
  );
  const disk = `${lab.folder}/large/rows`;
  Deno.mkdirSync(disk);
  const mount = (...args: string[]) =>
    new Deno.Command(args[0], { args: args.slice(1), stderr: "null" }).outputSync().success;
  let mounted = false;
  try {
    mounted = mount("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk);
  } catch {
    // there is no mount
  }
  if (!mounted) {
    await t.step({ name: "skipped: no small disk can be mounted here", ignore: true, fn: () => {} });
    return;
  }
  try {
    const { code, err } = await lab.run("command", ["run", "large", "--workers", "1"]);
    assert.equal(code, 1);
    assert.match(err, /cannot write .*(No space left|os error 28)/);
    assert.equal(err.trim().split("\n").length, 1, err);
    assert.ok(lab.rows("large").length >= 3);
    for (const file of lab.rows("large")) JSON.parse(Deno.readTextFileSync(`${disk}/${file}`)); // each is whole
  } finally {
    mount("umount", disk);
  }
});

Deno.test("what makes no sense is refused in one sentence, and nothing is run", async () => {
  using lab = new Laboratory();
  lab.declare("trial", "grid: { a: [1, 2] }, row: ({ a }) => ({ a2: a * a })");
  lab.declare("empty", "grid: { a: [] }, row: () => ({})");
  const cases: [string[], RegExp][] = [
    [["run", "trail"], /^there is no experiment "trail"; there are empty, trial$/],
    [
      ["run", "trial", "--rows", "2..9"],
      /^experiment trial has the rows 1..2, but 2..9 are wanted; name some of its rows$/,
    ],
    [["run", "trial", "--rows", "two"], /^--rows must be like 3..7, but it is two$/],
    [["run", "trial", "--workers", "0"], /^--workers must be a whole number from 1, but it is 0$/],
    [["run", "trial", "--quick"], /^there is no option --quick; see --help$/],
    [["walk", "trial"], /^there is no command walk; there are list, run, submit/],
    [["run", "empty"], /^the setting a of experiment empty needs one value at least/],
  ];
  for (const [args, sentence] of cases) {
    const { code, err } = await lab.run("command", args);
    assert.equal(code, 2, args.join(" "));
    assert.match(err.trim(), sentence);
  }
  const none = await lab.run("command", ["submit", "trial"], { PATH: "/nowhere" });
  assert.equal(none.code, 1);
  assert.match(
    none.err.trim(),
    /^there is no sbatch on this machine; run this on a login node of a Slurm cluster, or .*$/,
  );
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
