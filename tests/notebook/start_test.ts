import assert from "node:assert/strict";
import { exists, root, venvProgram } from "../../lib/notebook/paths.ts";
import { labOptions } from "../../lib/notebook/start.ts";

const script = `${root}/lib/notebook/start.ts`;

Deno.test("start asks for no browser where there is no screen, and allows root only to root", () => {
  const screen = { os: "linux", uid: 1000, display: ":0" } as const;
  assert.ok(!labOptions([], 8888, screen).some((option) => ["--no-browser", "--allow-root"].includes(option)));
  assert.ok(labOptions([], 8888, { ...screen, display: undefined }).includes("--no-browser"));
  assert.ok(!labOptions([], 8888, { ...screen, os: "darwin", display: undefined }).includes("--no-browser"));
  assert.ok(labOptions([], 8888, { ...screen, uid: 0 }).includes("--allow-root"));
});

Deno.test("start hands other options on, and decides about the port itself", () => {
  const options = labOptions(["--debug", "--port=9000", "--no-browser"], 9001, {
    os: "linux",
    uid: 1,
    display: undefined,
  });
  assert.deepEqual(options.filter((option) => option.startsWith("--port=")), ["--port=9001"]);
  assert.ok(options.includes("--debug"));
  assert.equal(options.filter((option) => option === "--no-browser").length, 1);
});

Deno.test("start --help explains itself and starts nothing", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, "--help"] }).output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /^Usage: deno task start/);
});

Deno.test("a port that is none gives one sentence", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, "--port=x"] })
    .output();
  assert.equal(code, 1);
  assert.equal(new TextDecoder().decode(stderr), "--port takes a number from 1 to 65535, but got x\n");
});

Deno.test("start prints the address with its token, takes another port when one is busy, and Ctrl-C ends all of it", {
  ignore: !exists(venvProgram("jupyter-lab")),
}, async () => {
  using busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = (busy.addr as Deno.NetAddr).port;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script, "--no-browser", `--port=${port}`],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let text = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  while (!text.includes("Ctrl-C ends it.")) {
    const { value, done } = await reader.read();
    assert.ok(!done, text);
    text += value;
  }
  assert.match(text, new RegExp(`^Port ${port} is in use`, "m"));
  const address = /http:\/\/127\.0\.0\.1:\d+\/lab\S*\?token=[0-9a-f]{48}/.exec(text)?.[0];
  assert.ok(address, text);
  const page = await fetch(address);
  assert.equal(page.status, 200);
  await page.body?.cancel();
  const specs = await (await fetch(address.replace(/\/lab\S*\?/, "/api/kernelspecs?"))).json();
  assert.deepEqual([specs.default, Object.keys(specs.kernelspecs)], ["tessera", ["tessera"]]);

  child.kill("SIGINT");
  await reader.cancel();
  assert.equal((await child.status).code, 0);
  await assert.rejects(fetch(address));
});
