import assert from "node:assert/strict";
import { type Check, checkData, examine, tableOf } from "../../lib/notebook/doctor.ts";

Deno.test("doctor tries everything, and nothing that is set up fails", async () => {
  const checks = await examine();
  assert.deepEqual(
    checks.map(({ name }) => name),
    ["deno", "packages", "kernel", "stop", "tensorflow", "backend", "gpu", "jupyterlab", "disk", "data"],
  );
  for (const { name, status, detail } of checks) {
    assert.ok(["ok", "warning", "absent"].includes(status), `${name}: ${detail}`);
    assert.ok(detail.length > 0);
  }
  const of = (name: string) => checks.find((check) => check.name === name)!;
  assert.match(of("kernel").detail, /"6 \* 7" gave 42/);
  assert.match(of("backend").detail, /\d+ threads/);
  if (Deno.build.os !== "windows") {
    assert.match(of("stop").detail, /a waiting cell ended .* a loop .* the kernel lives/);
  }
});

Deno.test("doctor names data that is empty or has no SOURCE.md", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    assert.equal((await checkData(folder)).status, "failed");
    Deno.mkdirSync(`${folder}/digits`);
    Deno.writeTextFileSync(`${folder}/digits/images.gz`, "");
    const { status, detail } = await checkData(folder);
    assert.equal(status, "failed");
    assert.match(detail, /digits has no SOURCE\.md; digits\/images\.gz is empty/);
    Deno.writeTextFileSync(`${folder}/digits/images.gz`, "x");
    Deno.writeTextFileSync(`${folder}/digits/SOURCE.md`, "# Digits");
    assert.deepEqual(await checkData(folder), { status: "ok", detail: "1 data sets: digits" });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("doctor's table has one line per check, in columns", () => {
  const checks: Check[] = [{ name: "deno", status: "ok", detail: "a" }, {
    name: "kernel",
    status: "failed",
    detail: "b",
  }];
  assert.equal(tableOf(checks), "deno    ok       a\nkernel  failed   b");
});

Deno.test("doctor --json prints what the table shows, as JSON and nothing else", async () => {
  const script = new URL("../../lib/notebook/doctor.ts", import.meta.url).pathname;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, "--json"] }).output();
  const { checks } = JSON.parse(new TextDecoder().decode(stdout)) as { checks: Check[] };
  assert.equal(checks.length, 10);
  for (const check of checks) assert.deepEqual(Object.keys(check), ["name", "status", "detail"]);
  assert.equal(code, checks.some(({ status }) => status === "failed") ? 1 : 0);
});
