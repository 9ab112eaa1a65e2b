import assert from "node:assert/strict";
import { Kernel } from "../../lib/notebook/client.ts";
import { readConnectionFile } from "../../lib/notebook/message.ts";

const cwd = new URL("../../", import.meta.url).pathname;
const stopModule = new URL("../../lib/stop.ts", import.meta.url).href;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function withKernel(use: (kernel: Kernel) => Promise<void>): Promise<void> {
  const kernel = await Kernel.start({ cwd });
  try {
    await use(kernel);
  } finally {
    await kernel.shutdown();
  }
}

const textOf = (messages: { content: Record<string, unknown> }[]) =>
  messages.map(({ content }) => content.text ?? "").join("");

/** Processes whose parent is this one; /proc is Linux's. */
function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter(Boolean).map(Number);
}

function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}

async function allEnd(pids: number[], limitMs: number): Promise<boolean> {
  for (let waited = 0; waited < limitMs; waited += 50) {
    if (!pids.some(isAlive)) return true;
    await pause(50);
  }
  return false;
}

Deno.test("a kernel runs cells, keeps what they define, and loses no line of 2,000 prints at a cell's end", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute("const six = 6;");
    const { messages, status } = await kernel.execute("six * 7");
    assert.equal(status, "ok");
    assert.deepEqual(messages.map(({ content }) => content.data), [{ "text/plain": "42" }]);

    const printed = await kernel.execute("for (let i = 0; i < 2000; i++) console.log('line', i)");
    assert.equal(textOf(printed.messages), Array.from({ length: 2000 }, (_, i) => `line ${i}\n`).join(""));

    const after = await kernel.execute("console.log('next')");
    assert.equal(textOf(after.messages), "next\n");
  });
});

Deno.test("a kernel shows displays, errors, and nothing but its verdict for a syntax error", async () => {
  await withKernel(async (kernel) => {
    const shown = await kernel.execute("({ [Symbol.for('Jupyter.display')]: () => ({ 'text/plain': 'a figure' }) })");
    assert.deepEqual(shown.messages.map(({ content }) => content.data), [{ "text/plain": "a figure" }]);
    const thrown = await kernel.execute("throw new RangeError('too far')");
    assert.equal(thrown.status, "error");
    assert.equal(thrown.messages[0].content.evalue, "too far");
    const wrong = await kernel.execute("const = ;");
    assert.deepEqual([wrong.status, wrong.messages.length], ["error", 0]);
  });
});

Deno.test("Stop ends a cell that waits, with a text, and the kernel lives", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute(`import { sleep, tick } from ${JSON.stringify(stopModule)};`);
    for (const code of ["await sleep(30_000)", "while (true) await tick()"]) {
      setTimeout(() => kernel.interrupt(), 200);
      const { status, seconds, messages } = await kernel.execute(code);
      assert.equal(status, "error");
      assert.equal(messages[0].content.evalue, "stopped by the user");
      assert.ok(seconds < 2, `${code} went on for ${seconds} s`);
    }
    assert.equal((await kernel.execute("1 + 1")).status, "ok");
  });
});

Deno.test("Stop ends a synchronous loop, and the loop of the next cell is not stopped with it", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute(`import { tick } from ${JSON.stringify(stopModule)}; await tick();`);
    setTimeout(() => kernel.interrupt(), 200);
    const { status, seconds } = await kernel.execute("while (true);");
    assert.equal(status, "error");
    assert.ok(seconds < 3, `went on for ${seconds} s`);
    const next = await kernel.execute(
      "const until = performance.now() + 300; while (performance.now() < until) await tick(); 'whole'",
    );
    assert.equal(next.status, "ok");
  });
});

Deno.test("Stop on a bare promise does not wedge the kernel: the cell ends by itself", async () => {
  await withKernel(async (kernel) => {
    setTimeout(() => kernel.interrupt(), 100);
    const { status } = await kernel.execute("await new Promise((resolve) => setTimeout(resolve, 900))");
    assert.equal(status, "ok");
    assert.equal((await kernel.execute("1 + 1")).status, "ok");
  });
});

Deno.test("a kernel that dies in a cell is an error with its exit code", async () => {
  await withKernel(async (kernel) => {
    await assert.rejects(
      kernel.execute("Deno.kill(Deno.pid, 'SIGKILL'); await new Promise(() => {});"),
      /the kernel ended by itself \(exit 137\)/,
    );
  });
});

Deno.test("nothing stays behind, neither after a shutdown nor when the kernel's parent is killed", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  const ended = await Kernel.start({ cwd });
  const itsProcesses = [ended.pid, ...childrenOf(ended.pid)];
  assert.ok(itsProcesses.length >= 3); // the parent, the kernel, the watcher
  await ended.shutdown();
  assert.ok(await allEnd(itsProcesses, 2000));

  const killed = await Kernel.start({ cwd });
  const processes = [killed.pid, ...childrenOf(killed.pid)];
  Deno.kill(killed.pid, "SIGKILL");
  assert.ok(await allEnd(processes, 3000));
  await killed.shutdown();
});

Deno.test(
  "a kernel ends when the program that started it is killed",
  { ignore: Deno.build.os !== "linux" },
  async () => {
    const client = new URL("../../lib/notebook/client.ts", import.meta.url).href;
    const code = `import { Kernel } from ${JSON.stringify(client)};
    const kernel = await Kernel.start({ cwd: "." }); console.log(kernel.pid); setTimeout(() => {}, 60_000);`;
    const starter = new Deno.Command(Deno.execPath(), { args: ["eval", "--no-config", code], cwd, stdout: "piped" })
      .spawn();
    const reader = starter.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const pid = Number((await reader.read()).value);
    await reader.cancel();
    const processes = [pid, ...childrenOf(pid)];
    starter.kill("SIGKILL");
    await starter.status;
    assert.ok(await allEnd(processes, 5000));
  },
);

Deno.test("a kernel refuses to listen on other machines' addresses", () => {
  const file = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(file, JSON.stringify({ transport: "tcp", ip: "0.0.0.0" }));
    assert.throws(() => readConnectionFile(file), /listens on 127\.0\.0\.1 over tcp only, but .* tcp on 0\.0\.0\.0/);
  } finally {
    Deno.removeSync(file);
  }
});
