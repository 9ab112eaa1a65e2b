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

Deno.test("every output goes to the cell that made it, also when a timer of an earlier cell prints", async () => {
  await withKernel(async (kernel) => {
    const printed = async (code: string) => textOf((await kernel.execute(code)).messages);
    assert.equal(await printed("setTimeout(() => console.log('late'), 60); console.log('first')"), "first\n");
    assert.equal(
      await printed("await new Promise((done) => setTimeout(done, 150)); console.log('second')"),
      "second\n",
    );
    const late = kernel.takeLate();
    assert.deepEqual(late.map(({ content }) => content.text), ["late\n"]);
    assert.deepEqual(kernel.takeLate(), []);
  });
});

Deno.test("50 display updates, 8 MB in one line and what follows arrive, in order", async () => {
  await withKernel(async (kernel) => {
    const updates = await kernel.execute(`
      const show = (k) => Deno.jupyter.broadcast(k ? "update_display_data" : "display_data",
        { data: { "text/plain": String(k) }, metadata: {}, transient: { display_id: "one" } });
      for (let k = 0; k < 50; k++) await show(k);
      console.log("end")`);
    const shown = updates.messages.map(({ content }) => (content.data as Record<string, string>)?.["text/plain"]);
    assert.deepEqual(shown, [...Array.from({ length: 50 }, (_, k) => String(k)), undefined]);
    assert.equal(updates.messages.at(-1)!.content.text, "end\n");

    const large = await kernel.execute("console.log('x'.repeat(8e6)); console.log('after'); 7");
    assert.equal(textOf(large.messages), `${"x".repeat(8e6)}\nafter\n`);
    assert.equal(large.messages.at(-1)!.header.msg_type, "execute_result");
  });
});

Deno.test("a flood of prints is joined", async () => {
  await withKernel(async (kernel) => {
    const { messages } = await kernel.execute("for (let k = 0; k < 1000; k++) { console.log(k); console.log(-k); }");
    assert.ok(messages.length < 40, `${messages.length} messages for 2,000 prints`);
    const { messages: two } = await kernel.execute("console.log(1); console.error(2); console.log(3)");
    assert.deepEqual(two.map(({ content }) => `${content.name} ${content.text}`), [
      "stdout 1\n",
      "stderr 2\n",
      "stdout 3\n",
    ]);
  });
});

Deno.test("a display above 1 MB and prints above 10 MB are cut, with a line that says so", async () => {
  await withKernel(async (kernel) => {
    const display = (size: number) =>
      kernel.execute(
        `await Deno.jupyter.display({ "text/html": "x".repeat(${size}), "text/plain": "small" }, { raw: true })`,
      );
    const whole = await display(900_000);
    assert.equal((whole.messages[0].content.data as Record<string, string>)["text/html"].length, 900_000);
    for (const size of [1_100_000, 30_000_000]) {
      const { messages: [note, cut], status } = await display(size);
      assert.equal(status, "ok");
      assert.match(String(note.content.text), /a display of \d+\.\d MB was cut, the limit is 1\.0 MB/);
      const data = cut.content.data as Record<string, string>;
      assert.deepEqual(Object.keys(data), ["text/plain"]);
      assert.match(data["text/plain"], size < 2e6 ? /^small$/ : /was cut/);
    }
    for (const code of ["for (let k = 0; k < 12; k++) console.log('y'.repeat(1e6))", "console.log('y'.repeat(60e6))"]) {
      const text = textOf((await kernel.execute(`${code}; console.log("more")`)).messages);
      assert.match(
        text.slice(-120),
        /cut here: this cell has printed more than 10\.0 MB; write to a file what is long\n$/,
      );
      assert.ok(text.length < 10_000_200 && text.length > 9_999_900);
    }
    assert.equal(textOf((await kernel.execute("console.log('next')")).messages), "next\n");
  });
});

/** A cell, the error it shows, and where. */
interface Failing {
  cell: string;
  error: RegExp;
  line?: number;
  column?: number;
}

const FAILING: Failing[] = [
  { cell: "const a = 1;\nconst = ;", error: /^SyntaxError: Unexpected token `=`/, line: 2, column: 7 },
  { cell: "f(\n  (", error: /^SyntaxError: Expression expected/, line: 2, column: 4 },
  {
    cell: "let b = 1;\nlet b = 2;",
    error: /^SyntaxError: Identifier 'b' has already been declared/,
    line: 2,
    column: 5,
  },
  {
    cell: "\nimport { x } from './nowhere.ts';",
    error: /^TypeError: Module not found .*nowhere\.ts/,
    line: 2,
    column: 1,
  },
  { cell: "import 'npm:tessera-no-such@1.0.0';", error: /^TypeError: .*tessera-no-such@1\.0\.0/, line: 1, column: 1 },
  { cell: "import x from 'tessera-nothing';", error: /^TypeError: .*tessera-nothing/, line: 1, column: 1 },
  {
    cell:
      "// types are taken out\ntype A = { a: number };\n\nfunction f(x: A): number { if (x) throw new RangeError('far'); return 1; }\n\nf({ a: 1 });",
    error: /^RangeError: far/,
    line: 4,
    column: 41,
  },
  { cell: "await Promise.all([1,\n  Promise.reject(new Error('lost'))])", error: /^Error: lost/, line: 2, column: 18 },
  { cell: "Promise.reject(new Error('unhandled'));\n1", error: /^Error: unhandled/, line: 1, column: 16 },
  {
    cell: "({\n  [Symbol.for('Jupyter.display')]() {\n    throw new Error('display');\n  }\n})",
    error: /^Error: display/,
    line: 3,
    column: 11,
  },
  {
    cell: "({ [Symbol.for('Jupyter.display')]: () => 'text' })",
    error: /^TypeError: the method Symbol\.for\("Jupyter\.display"\) must give an object.*but gave "text"/,
  },
  { cell: "throw 'only text'", error: /^Error: only text/ },
];

Deno.test("a cell that fails says what is wrong, and in which line and column", async () => {
  await withKernel(async (kernel) => {
    for (const { cell, error, line, column } of FAILING) {
      const { messages, status } = await kernel.execute(cell);
      const found = messages.filter(({ header }) => header.msg_type === "error");
      assert.deepEqual([status, found.length], ["error", 1], cell);
      const { content: { ename, evalue, traceback }, metadata } = found[0];
      assert.match(`${ename}: ${evalue}`, error);
      const text = (traceback as string[]).join("\n");
      assert.match(text, error);
      assert.doesNotMatch(text, /ext:|node:|\$cell|__tessera|lib\/notebook/);
      if (line === undefined) continue;
      const place = metadata.tessera as Record<string, number>;
      assert.deepEqual({ line: place.line, column: place.column }, { line, column }, cell);
      assert.match(text, new RegExp(`cell \\[${place.cell}\\], line ${line}, column ${column}:`));
      assert.ok(text.includes(`  ${line} | ${cell.split("\n")[line - 1]}`), text);
    }
    assert.equal((await kernel.execute("1 + 1")).status, "ok");
  });
});

Deno.test("a stack trace names cells and lines, also of a function from an earlier cell", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute(
      "interface T { a: number }\n\nasync function deep(x: T) {\n  await null;\n  throw new Error('deep');\n}",
    );
    const { messages } = await kernel.execute("\n\nawait deep({ a: 1 });");
    const traceback = messages[0].content.traceback as string[];
    assert.deepEqual(traceback.filter((line) => /^ +at /.test(line)), [
      "    at deep (cell [1]:5:9)",
      "    at async cell [2]:3:1",
    ]);
    const printed = await kernel.execute("\ntype X = 1;\nconsole.log(new Error('e').stack)");
    assert.match(textOf(printed.messages), /^Error: e\n {4}at cell \[3\]:3:13\n$/);
  });
});

Deno.test("an error in a timer is an error of the cell that set it", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute("\nsetTimeout(() => { throw new Error('in a timer') }, 30)");
    assert.equal((await kernel.execute("await new Promise((done) => setTimeout(done, 100))")).status, "ok");
    const [{ header, content, metadata }] = kernel.takeLate();
    assert.deepEqual([header.msg_type, content.evalue, metadata.tessera], ["error", "in a timer", {
      cell: 1,
      line: 2,
      column: 26,
    }]);
    const { status } = await kernel.execute(
      "setTimeout(() => { throw new Error('early') }); await new Promise((f) => setTimeout(f, 50))",
    );
    assert.equal(status, "error");
  });
});

Deno.test("every kind of value is shown, and undefined is not", async () => {
  const tensor = `({ shape: [2, 2], dtype: "float32", isDisposed: false, constructor: { name: "Tensor" },
    dataSync: () => new Float32Array([1, 2, NaN, 6]), data: async () => new Float32Array([1, 2, NaN, 6]) })`;
  const shown: [string, string | RegExp | undefined][] = [
    ["NaN", "NaN"],
    ["-Infinity", "-Infinity"],
    ["-0", "-0"],
    ["1n", "1n"],
    ["null", "null"],
    ["await Promise.resolve(null)", "null"],
    ["const zero = 0\nzero / zero // not a number", "NaN"],
    ["[].find((x) => x) ?? null", "null"],
    ["undefined", undefined],
    ["const c = 1", undefined],
    ["if (true) { 1n }", undefined],
    ["'text'", '"text"'],
    ["{ a: 1 }", "{ a: 1 }"],
    ["new Float32Array([1, 2])", "Float32Array(2) [ 1, 2 ]"],
    ["new Map([['a', 1]])", 'Map(1) { "a" => 1 }'],
    ["new Set([1])", "Set(1) { 1 }"],
    [tensor, "Tensor float32 [2, 2]\n  1, 2, NaN, 6\n  min 1, mean 3, max 6; 1 value not finite"],
    ["Object.fromEntries(Array.from({ length: 500 }, (_, k) => [`k${k}`, [k]]))", /\n… 412 lines folded; console\.log/],
    ["'x'.repeat(1e6)", /x"\n… 990,000 characters more$/],
  ];
  await withKernel(async (kernel) => {
    for (const [code, expected] of shown) {
      const { messages, status } = await kernel.execute(code);
      assert.equal(status, "ok", code);
      const text = (messages[0]?.content.data as Record<string, string> | undefined)?.["text/plain"];
      if (expected instanceof RegExp) assert.match(text ?? "", expected);
      else assert.equal(text, expected, code);
    }
  });
});

Deno.test("what is written to Deno.stdout and process.stdout is shown too", async () => {
  await withKernel(async (kernel) => {
    const { messages } = await kernel.execute(
      "Deno.stdout.writeSync(new TextEncoder().encode('a\\n')); process.stderr.write('b\\n'); console.table([[1]])",
    );
    assert.deepEqual(messages.map(({ content }) => `${content.name} ${String(content.text)[0]}`), [
      "stdout a",
      "stderr b",
      "stdout ┌",
    ]);
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

const ENDLESS = {
  "a bare promise": "\nawait new Promise(() => {})",
  "a loop of awaits": "\nwhile (true) await new Promise((done) => setTimeout(done, 20))",
  "an async iterator":
    "\nfor await (const _ of { async *[Symbol.asyncIterator]() { while (true) { await null; yield 1; await new Promise((f) => setTimeout(f, 9)); } } });",
  "synchronous work between awaits":
    "\nwhile (true) { const end = performance.now() + 700; while (performance.now() < end); await new Promise((f) => setTimeout(f, 1)); }",
  "microtasks without end": "\nwhile (true) await null",
};

Deno.test("Stop ends whatever a cell awaits, says what was stopped, and the next cell's output is whole", async (t) => {
  await withKernel(async (kernel) => {
    for (const [what, code] of Object.entries(ENDLESS)) {
      await t.step(what, async () => {
        setTimeout(() => kernel.interrupt(), 200);
        const { status, seconds, messages } = await kernel.execute(code);
        const error = messages.find(({ header }) => header.msg_type === "error")!;
        assert.deepEqual([status, error.content.ename, error.content.evalue], [
          "error",
          "AbortError",
          "stopped by the user",
        ]);
        assert.match((error.content.traceback as string[]).join("\n"), /line 2, column|was stopped after \d\.\d s/);
        assert.ok(seconds < 4, `${seconds} s`);
        const next = await kernel.execute(
          "for (let k = 0; k < 300; k++) console.log(k); await new Promise((f) => setTimeout(f, 300)); 'whole'",
        );
        assert.equal(next.status, "ok");
        assert.equal(textOf(next.messages).split("\n").length, 301);
      });
    }
  });
});

Deno.test("a cell that catches Stop may save what it has", async () => {
  await withKernel(async (kernel) => {
    await kernel.execute(`import { sleep } from ${JSON.stringify(stopModule)};`);
    setTimeout(() => kernel.interrupt(), 200);
    const { status, messages } = await kernel.execute(
      "try { await sleep(9000) } catch { await new Promise((done) => setTimeout(done, 500)); console.log('saved') }",
    );
    assert.deepEqual([status, textOf(messages)], ["ok", "saved\n"]);
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
