/** A cluster: what is asked of it, by stand-ins for its commands; and with --full a real one with two nodes, one of which dies. */
import assert from "node:assert/strict";
import { Store } from "../../lib/experiment/mod.ts";
import { Laboratory } from "./laboratory.ts";
import { PrivateSlurm } from "./private_slurm.ts";

Deno.test("missing rows are submitted in parts, frozen, capped and requeued; status and cancel speak of that job", async () => {
  using lab = new Laboratory();
  lab.declare("trial", "rowSeconds: 60, grid: { a: [1, 2, 3, 4, 5, 6, 7] }, row: ({ a }) => ({ a2: a * a })");
  assert.equal((await lab.run("command", ["run", "trial", "--rows", "2..2"])).code, 0);
  const bin = `${lab.folder}/bin`;
  Deno.mkdirSync(bin);
  const program = (name: string, script: string) => {
    Deno.writeTextFileSync(`${bin}/${name}`, `#!/bin/sh\n${script}\n`);
    Deno.chmodSync(`${bin}/${name}`, 0o755);
  };
  program("sbatch", `printf '%s\\n' "$@" > ${lab.folder}/sbatch.txt; echo "4711;lab"`);
  program("squeue", `echo "4711 RUNNING"; echo "4711 PENDING"; echo "99 RUNNING"`);
  program("scancel", `printf '%s\\n' "$@" > ${lab.folder}/scancel.txt`);
  const env = { PATH: `${bin}:${Deno.env.get("PATH")}` };
  const submitted = await lab.run(
    "command",
    ["submit", "trial", "--engine", "slurm", "--cap", "4", "--partition", "p"],
    env,
  );
  assert.equal(submitted.out.trim(), "job 4711: 6 rows in 2 tasks", submitted.err); // three rows make three minutes
  const args = Deno.readTextFileSync(`${lab.folder}/sbatch.txt`).trim().split("\n");
  for (
    const wanted of [
      "--array=0-1%4",
      "--requeue",
      "--open-mode=append",
      "--signal=B:USR1@60",
      "--time=10",
      "--partition=p",
    ]
  ) {
    assert.ok(args.includes(wanted), `${wanted} in ${args.join(" ")}`);
  }
  const script = args.at(-1)!;
  assert.match(Deno.readTextFileSync(script), /^exec '.*deno.*' run -A '.*worker.ts' --job '.*'$/m);
  const job = JSON.parse(Deno.readTextFileSync(script.replace("task.sh", "job.json")));
  assert.deepEqual([job.numbers, job.chunk, job.id], [[1, 3, 4, 5, 6, 7], 3, "4711"]);
  assert.match((await lab.run("command", ["status", "trial"], env)).out, /job 4711: 1 RUNNING, 1 PENDING\n$/);

  // a task computes its part of the frozen list, and no row that is there
  const task = await new Deno.Command("sh", {
    args: [script],
    env: { SLURM_ARRAY_TASK_ID: "1", TESSERA_BACKEND: "cpu", NO_COLOR: "1" },
  }).output();
  assert.equal(task.code, 0, new TextDecoder().decode(task.stderr));
  const done = lab.rows("trial").map((file) => new Store(`${lab.folder}/trial`).get(file.slice(0, -5))!.cell.a);
  assert.deepEqual(done.sort(), [2, 5, 6, 7]);

  assert.equal((await lab.run("command", ["cancel", "trial"], env)).out.trim(), "cancelled: 4711");
  assert.equal(Deno.readTextFileSync(`${lab.folder}/scancel.txt`).trim(), "4711");
  program("sbatch", `echo "invalid partition" >&2; exit 1`);
  const refused = await lab.run("command", ["submit", "trial"], env);
  assert.equal(refused.code, 1);
  assert.equal(refused.err.trim(), "sbatch refused (exit code 1): invalid partition");
});

const installed = PrivateSlurm.missing();
Deno.test({
  name: "a real cluster: 40 rows, one of which fails, on two nodes, one of which dies; every other row is there once",
  ignore: !(Deno.env.get("TESSERA_FULL") || Deno.env.get("TESSERA_SLURM")) || installed !== undefined,
  async fn() {
    using lab = new Laboratory();
    lab.declare(
      "forty",
      `grid: { a: Array.from({ length: 40 }, (_, i) => i) }, async row({ a }, { signal }) {
        if (a === 13) throw new Error("unlucky");
        await new Promise((done, stop) => { setTimeout(done, 1000); signal.onabort = () => stop(signal.reason); });
        return { a2: a * a };
      }`,
    );
    await using slurm = await PrivateSlurm.start(2);
    const submitted = await lab.run("command", ["submit", "forty", "--chunk", "5", "--cap", "4"], slurm.env);
    assert.match(submitted.out, /40 rows in 8 tasks/, submitted.err);
    await slurm.untilRunning("n2");
    await slurm.kill("n2");
    await slurm.untilDone();
    assert.match(
      (await lab.run("command", ["status", "forty"], slurm.env)).out,
      /39 of 40 rows done, 1 missing, 1 failed/,
    );
    assert.equal(lab.rows("forty").length, 39);
    const store = new Store(`${lab.folder}/forty`);
    const cells = lab.rows("forty").map((file) => store.get(file.slice(0, -5))!.cell.a as number).sort((a, b) => a - b);
    assert.deepEqual(cells, Array.from({ length: 40 }, (_, i) => i).filter((a) => a !== 13));
    assert.match(store.failures()[0].error, /unlucky/);
    // submit again: only the failed one is left
    assert.match((await lab.run("command", ["submit", "forty"], slurm.env)).out, /1 rows in 1 tasks/);
    assert.match((await lab.run("command", ["cancel", "forty"], slurm.env)).out, /cancelled|has no job/);
  },
});
