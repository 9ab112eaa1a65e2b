import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { backend, tf } from "tessera/tensor/mod.ts";
import { cpuInfo, findTensorFlow, TENSORFLOW_VERSION, whyNoTensorFlow } from "tessera/tensor/load.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const noTensorFlow = whyNoTensorFlow();
if (noTensorFlow !== undefined) console.log(`what needs TensorFlow is not tested: ${noTensorFlow}`);

/** What a person's program looks like: one import, one result, no word more. */
const PROGRAM = `
  import { backend, tf } from "tessera/tensor/mod.ts";
  const x = tf.tensor2d([[1, 2], [3, 4]]);
  console.log(JSON.stringify({ backend, product: tf.matMul(x, x).arraySync() }));
`;

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

async function run(
  program: string,
  { env = {}, permissions = ["-A"] }: { env?: Record<string, string>; permissions?: string[] } = {},
): Promise<Run> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(file, program);
  const own = Object.fromEntries(Object.entries(Deno.env.toObject()).filter(([name]) => !/^(TESSERA|TF)_/.test(name)));
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--config", `${root}deno.json`, ...permissions, file],
      env: { ...own, NO_COLOR: "1", ...env },
      clearEnv: true,
    }).output();
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(file);
  }
}

/** The first line of an uncaught error, without the words of Deno before it. */
function errorOf({ code, stderr }: Run): string {
  assert.equal(code, 1, stderr);
  return stderr.split("\n")[0].replace(/^error: Uncaught \(in promise\) /, "");
}

for (const name of ["tensorflow", "wasm", "cpu"] as const) {
  Deno.test({
    name: `TESSERA_BACKEND=${name} forces ${name}, and the terminal shows nothing else`,
    ignore: name === "tensorflow" && noTensorFlow !== undefined,
    async fn() {
      const { code, stdout, stderr } = await run(PROGRAM, { env: { TESSERA_BACKEND: name } });
      assert.equal(stderr, "");
      assert.equal(code, 0);
      const shown = JSON.parse(stdout);
      assert.equal(shown.backend.name, name);
      assert.equal(shown.backend.version, name === "tensorflow" ? TENSORFLOW_VERSION : tf.version["tfjs-core"]);
      assert.deepEqual(shown.product, [[7, 10], [15, 22]]);
    },
  });
}

Deno.test("an unknown backend is refused in one sentence", async () => {
  assert.equal(
    errorOf(await run(PROGRAM, { env: { TESSERA_BACKEND: "torch" } })),
    'RangeError: TESSERA_BACKEND must be tensorflow or wasm or cpu, but it is "torch"; unset it to have one chosen',
  );
});

Deno.test({
  name: "TESSERA_THREADS sets TensorFlow's threads, and anything but a number is refused",
  ignore: noTensorFlow !== undefined,
  async fn() {
    const program = `
      import { backend } from "tessera/tensor/mod.ts";
      const running = Array.from(Deno.readDirSync("/proc/self/task")).length;
      console.log(JSON.stringify({ threads: backend.threads, running }));
    `;
    const count = async (threads: string) =>
      JSON.parse((await run(program, { env: { TESSERA_THREADS: threads } })).stdout);
    const [few, many] = [await count("1"), await count("40")];
    assert.deepEqual([few.threads, many.threads], [1, 40]);
    assert.ok(many.running >= few.running + 39, `${few.running} threads run for 1, ${many.running} for 40`);
    for (const text of ["x", "0", "1.5"]) {
      assert.equal(
        errorOf(await run(PROGRAM, { env: { TESSERA_THREADS: text } })),
        `RangeError: TESSERA_THREADS must be a whole number from 1 to 1024, but it is "${text}"; unset it for all cores`,
      );
    }
  },
});

// a process that may not read .venv finds no TensorFlow in it
const WITHOUT_TENSORFLOW = ["--allow-read", "--allow-env", "--allow-sys", "--allow-ffi", `--deny-read=${root}.venv`];

Deno.test("without TensorFlow wasm is taken, and one line on standard error says so", async () => {
  const { stdout, stderr } = await run(PROGRAM, { permissions: WITHOUT_TENSORFLOW });
  assert.match(stderr, /^TensorFlow is [^\n]*; using wasm, which is slower\n$/);
  assert.equal(JSON.parse(stdout).backend.name, "wasm");
});

Deno.test("a forced backend that is not there is an error, not another backend", async () => {
  const error = errorOf(
    await run(PROGRAM, { env: { TESSERA_BACKEND: "tensorflow" }, permissions: WITHOUT_TENSORFLOW }),
  );
  assert.match(
    error,
    /^Error: TESSERA_BACKEND=tensorflow cannot be had: TensorFlow .*; unset it, or run `deno task start`/,
  );
});

Deno.test({
  name: "a library of another version is refused before anything of it is used, and the process ends with that error",
  ignore: !hasCompiler(),
  async fn() {
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/fake.c`, 'const char *TF_Version(void) { return "2.20.0"; }');
    await new Deno.Command("cc", { args: ["-shared", "-o", "libtensorflow_cc.so.2", "fake.c"], cwd: folder }).output();
    const error = errorOf(
      await run(`
        import { loadTensorFlow } from "tessera/tensor/load.ts";
        loadTensorFlow(${JSON.stringify(folder)}, undefined);
      `),
    );
    assert.match(error, /WrongVersion: TensorFlow must be 2\.21\.0, but .* holds 2\.20\.0; run/);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: "a program that fails with the library loaded ends with its own error, not with a crash",
  ignore: noTensorFlow !== undefined,
  async fn() {
    const error = errorOf(
      await run(`
        import { libraryVersion } from "tessera/tensor/capi.ts";
        throw new Error(libraryVersion(${JSON.stringify(findTensorFlow())}, true));
      `),
    );
    assert.match(error, /2\.21\.0/);
  },
});

Deno.test({
  name: "the kernels of the wasm backend, as repaired, agree with the cpu backend",
  ignore: backend.name === "wasm", // then kernels_test.ts does it
  async fn() {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", "--no-check", "--config", `${root}deno.json`, `${root}tests/tensor/kernels_test.ts`],
      env: { TESSERA_BACKEND: "wasm", NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
  },
});

Deno.test("the backend shows itself: as a line, in a notebook, as a record, and cannot be changed", () => {
  const line = String(backend);
  assert.match(line, /^TensorFlow(\.js)? \d+\.\d+\.\d+ .*\bon .*, \d+ threads?$/);
  assert.ok(line.includes(backend.cpu));
  const display: unknown = Reflect.get(backend, Symbol.for("Jupyter.display"));
  assert.ok(typeof display === "function");
  assert.deepEqual(display(), { "text/plain": line });
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(backend))).sort(), [
    "cpu",
    "device",
    "name",
    "tfjs",
    "threads",
    "version",
  ]);
  assert.throws(() => Reflect.set(backend, "name", "cpu") || assert.fail("frozen"), /frozen/);
  assert.notEqual(cpuInfo().model, "");
});

function hasCompiler(): boolean {
  try {
    return new Deno.Command("cc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
