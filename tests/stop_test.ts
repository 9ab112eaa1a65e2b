import assert from "node:assert/strict";
import { progress, sleep, stopSignal, tick } from "../lib/stop.ts";

const module = new URL("../lib/stop.ts", import.meta.url).href;

/** A program that imports lib/stop.ts, runs the code, and says what it does on its standard output. */
function program(code: string, env: Record<string, string> = {}): Deno.ChildProcess {
  const source = `import { progress, sleep, stopSignal, tick } from ${JSON.stringify(module)};\n${code}`;
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", source],
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for the first line, presses Ctrl-C as often as asked, and returns what came of it. */
async function pressAfterFirstLine(
  child: Deno.ChildProcess,
  presses = 1,
): Promise<{ text: string; signal: string | null }> {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) text += (await reader.read()).value ?? "\n(ended)";
  for (let press = 0; press < presses; press++) {
    child.kill("SIGINT");
    await sleep(150);
  }
  while (true) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  await child.stderr.cancel();
  return { text, signal: (await child.status).signal };
}

const LOOP = `
try {
  await tick();
  console.log("loop");
  for (let i = 0; i < 1e9; i++) await tick();
} catch (error) {
  console.log(error.name, error.message);
} finally {
  console.log("finally");
}`;

Deno.test("tick() lets timers through in a loop that never waits otherwise", async () => {
  let fired = false;
  setTimeout(() => fired = true, 1);
  const until = performance.now() + 1000;
  while (!fired && performance.now() < until) await tick();
  assert.ok(fired);
});

Deno.test("tick() costs little: 10^5 calls take well under a second", async () => {
  const start = performance.now();
  for (let i = 0; i < 1e5; i++) await tick();
  assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
});

Deno.test("Ctrl-C in a terminal stops a loop that ticks, and its finally blocks run", async () => {
  const { text, signal } = await pressAfterFirstLine(program(LOOP));
  assert.equal(text, "loop\nAbortError stopped by the user\nfinally\n");
  assert.equal(signal, null);
});

Deno.test("Ctrl-C ends a program that imports stop.ts but runs no loop, as any other", async () => {
  const { signal } = await pressAfterFirstLine(program(`console.log("waiting"); setTimeout(() => {}, 20_000);`));
  assert.equal(signal, "SIGINT");
});

Deno.test("a second Ctrl-C ends a program whose loop did not care about the first", async () => {
  const code = `stopSignal(); console.log("held"); setTimeout(() => console.log("still here"), 5_000);`;
  const { text, signal } = await pressAfterFirstLine(program(code), 2);
  assert.equal(text, "held\n");
  assert.equal(signal, "SIGINT");
});

Deno.test("a press while the loop awaits something else is thrown by its next tick", async () => {
  const code = `
    await tick();
    console.log("awaiting");
    await new Promise((resolve) => setTimeout(resolve, 500));
    try { await tick(); console.log("missed"); } catch (error) { console.log(error.message); }`;
  const { text } = await pressAfterFirstLine(program(code));
  assert.equal(text, "awaiting\nstopped by the user\n");
});

Deno.test("with TESSERA_STOP_FILE the module says that it listens, counts presses, and renews the signal", async () => {
  const file = Deno.makeTempFileSync();
  try {
    const code = `
      const first = stopSignal();
      console.log(Deno.readTextFileSync(${JSON.stringify(file)}));
      try { await sleep(20_000); } catch (error) { console.log(error.message); }
      console.log(first.aborted, stopSignal().aborted, Deno.readTextFileSync(${JSON.stringify(file)}));
      Deno.exit();`;
    const { text } = await pressAfterFirstLine(program(code, { TESSERA_STOP_FILE: file }));
    assert.equal(text, "0\nstopped by the user\ntrue false 1\n");
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("a press that the kernel's parent has already served does not stop the next loop", async () => {
  const file = Deno.makeTempFileSync();
  try {
    const code = `
      await tick();
      Deno.writeTextFileSync(${JSON.stringify(file)}, "0 ended");
      console.log("ready");
      const until = performance.now() + 600;
      while (performance.now() < until) await tick();
      console.log("went on");
      Deno.exit();`;
    const { text } = await pressAfterFirstLine(program(code, { TESSERA_STOP_FILE: file }));
    assert.equal(text, "ready\nwent on\n");
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("sleep() and progress() refuse numbers that make no sense", () => {
  assert.throws(() => sleep(-1), /milliseconds >= 0, but got -1/);
  assert.throws(() => sleep(NaN), /but got NaN/);
  assert.throws(() => progress(0), /total of at least 1, but got 0/);
});

Deno.test("stopSignal() is not aborted before anybody presses Stop", () => {
  assert.equal(stopSignal().aborted, false);
});

Deno.test("progress() writes a few lines into a pipe, the last of them full, and none on standard output", async () => {
  const code = `
    const bar = progress(200, "steps");
    for (let i = 1; i <= 200; i++) { bar.update(i); await sleep(2); }
    await bar.done();`;
  const { stdout, stderr } = await program(code).output();
  const lines = new TextDecoder().decode(stderr).trim().split("\n");
  assert.equal(stdout.length, 0);
  assert.ok(lines.length >= 2 && lines.length <= 5, lines.join("\n"));
  assert.match(lines[0], /^steps ░{20} 0\/200$/);
  assert.match(lines.at(-1)!, /^steps █{20} 200\/200$/);
});
