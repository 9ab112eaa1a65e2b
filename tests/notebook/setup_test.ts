import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { reasonFor } from "../../lib/notebook/command.ts";
import { judgeDeno, shadowedDeno } from "../../lib/notebook/deno_check.ts";
import { kernelspec } from "../../lib/notebook/kernelspec.ts";
import { cudaEnvironment, type Machine, planFor } from "../../lib/notebook/platform.ts";
import { root, setUp } from "../../lib/notebook/setup.ts";

const full = Deno.env.get("TESSERA_FULL") === "1";
const linux = Deno.build.os === "linux" && Deno.build.arch === "x86_64";

interface Copy {
  root: string;
  /** Runs set-up in the copy; `text` is all it printed. */
  setUp(env?: Record<string, string>, args?: string[]): Promise<{ code: number; text: string }>;
}

/** A copy of what set-up needs, in a folder of its own, without what it makes. */
async function withCopy(packages: boolean, use: (copy: Copy) => Promise<void>): Promise<void> {
  const parent = Deno.realPathSync(Deno.makeTempDirSync({ prefix: "tessera-copy-" }));
  const folder = `${parent}/project`;
  cpSync(`${root}/lib/notebook`, `${folder}/lib/notebook`, { recursive: true });
  Deno.copyFileSync(`${root}/lib/stop.ts`, `${folder}/lib/stop.ts`);
  if (packages) {
    for (const name of ["deno.json", "deno.lock"]) Deno.copyFileSync(`${root}/${name}`, `${folder}/${name}`);
  } else {
    Deno.writeTextFileSync(`${folder}/deno.json`, JSON.stringify({ nodeModulesDir: "auto", imports: {} }));
  }
  const copy: Copy = {
    root: folder,
    async setUp(env = {}, args = []) {
      const { TESSERA_TENSORFLOW: _, ...inherited } = Deno.env.toObject(); // each test says itself what it wishes for
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", `${folder}/lib/notebook/setup.ts`, ...args],
        cwd: folder,
        clearEnv: true,
        env: { ...inherited, NO_COLOR: "1", ...env },
        stdin: "null",
      }).output();
      return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
    },
  };
  try {
    await use(copy);
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
}

/** A program of this name on a PATH of its own, that does what the shell script says. */
function fakeProgram(folder: string, name: string, script: string): string {
  Deno.mkdirSync(`${folder}/bin`, { recursive: true });
  Deno.writeTextFileSync(`${folder}/bin/${name}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return `${folder}/bin`;
}

/** Exactly one line of the output says it, and no stack follows. */
function oneSentence(text: string, sentence: RegExp): void {
  const lines = text.split("\n").filter((line) => sentence.test(line));
  assert.equal(lines.length, 1, text);
  assert.ok(!/^ +at /m.test(text), text);
}

Deno.test("a set-up that is whole costs under 0.1 s and changes nothing", { ignore: !linux }, async () => {
  await setUp({ pythonOptional: true });
  const costs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    const { changed, problem } = await setUp({ pythonOptional: true });
    costs.push(performance.now() - start);
    if (!problem) assert.equal(changed, false);
  }
  assert.ok(Math.min(...costs) < 100, `${costs.map((ms) => ms.toFixed(0))} ms`);
});

Deno.test("where nvidia-smi lists a GPU, the plan is the CUDA build with its pins, sizes and variables", {
  ignore: !linux,
}, async () => {
  await withCopy(false, async (copy) => {
    const bin = fakeProgram(copy.root, "nvidia-smi", 'echo "GPU 0: NVIDIA L4 (UUID: GPU-12345678)"');
    const { code, text } = await copy.setUp({ PATH: `${bin}:${Deno.env.get("PATH")}` }, ["--plan"]);
    assert.equal(code, 0);
    assert.match(text, /^TensorFlow: cuda$/m);
    assert.match(text, /GPU 0: NVIDIA L4: the CUDA build.*never been run on a GPU by us/);
    assert.match(text, /^TensorFlow library, CUDA +6073 MB {2}to do$/m);
    assert.match(text, /^ {4}tensorflow==2\.21\.0$/m);
    assert.equal(text.match(/^ {4}nvidia-[a-z-]+-cu12==[\d.]+$/gm)?.length, 12);
    assert.match(text, /^ {4}TF_FORCE_GPU_ALLOW_GROWTH=true$/m);
    assert.match(text, /^ {4}XLA_FLAGS=--xla_gpu_cuda_data_dir=.*\/site-packages\/nvidia\/cuda_nvcc$/m);
    assert.deepEqual([...Deno.readDirSync(copy.root)].map(({ name }) => name).sort(), ["bin", "deno.json", "lib"]);

    const none = fakeProgram(copy.root, "nvidia-smi", 'echo "No devices were found"; exit 6');
    assert.match(
      (await copy.setUp({ PATH: `${none}:${Deno.env.get("PATH")}` }, ["--plan"])).text,
      /^TensorFlow: cpu$/m,
    );
  });
});

Deno.test("each platform has a plan, and says what works there", () => {
  const plan = (machine: Partial<Machine>) => planFor({ os: "linux", arch: "x86_64", gpus: [], ...machine });
  assert.deepEqual(plan({}), { tensorflow: "cpu" });
  assert.equal(plan({ gpus: ["GPU 0: NVIDIA L4"] }).tensorflow, "cuda");
  assert.equal(plan({ gpus: ["GPU 0: NVIDIA L4"], wish: "cpu" }).tensorflow, "cpu");
  assert.equal(plan({ wish: "none" }).tensorflow, "none");
  for (const machine of [{ os: "darwin", arch: "aarch64" }, { os: "windows" }, { arch: "aarch64" }] as const) {
    const { tensorflow, note } = plan({ ...machine, gpus: ["GPU 0: any"] });
    assert.equal(tensorflow, "none");
    assert.match(note ?? "", /wasm backend computes, then cpu; notebooks, figures and inference work/);
  }
  assert.match(plan({ os: "darwin", arch: "aarch64" }).note!, /^On macOS arm64 /);
  assert.match(plan({ os: "windows" }).note!, /Stop in JupyterLab ends synchronous cells only/);
  assert.throws(() => plan({ wish: "gpu" }), /TESSERA_TENSORFLOW must be none, cpu or cuda, but it is gpu/);
  assert.match(cudaEnvironment("/x/site-packages").XLA_FLAGS, /=\/x\/site-packages\/nvidia\/cuda_nvcc$/);
});

Deno.test("the kernelspec starts our parent process and is stopped by a signal; on Windows the plain kernel by a message", () => {
  const argv = (spec: Record<string, unknown>) => (spec.argv as string[]).join(" ");
  assert.match(argv(kernelspec("linux")), /run -A .*kernel_parent\.ts \{connection_file\}$/);
  assert.equal(kernelspec("linux").interrupt_mode, "signal");
  assert.match(argv(kernelspec("windows")), /jupyter --kernel --conn \{connection_file\}$/);
  assert.equal(kernelspec("windows").interrupt_mode, "message");
});

Deno.test("a Deno that hides failing cells is refused, another one gets a warning", () => {
  assert.equal(judgeDeno("2.8.2").status, "refused");
  assert.match(judgeDeno("2.8.3").detail, /reports failing notebook cells as successful; use 2\.9\.6/);
  assert.equal(judgeDeno("2.9.5").status, "warning");
  assert.equal(judgeDeno("2.9.6").status, "ok");
});

Deno.test("no network, a full disk and an unknown failure each have their sentence", () => {
  assert.match(
    reasonFor("X", 1, "error sending request for url (http://h/p)"),
    /^X failed because the package registry cannot be/,
  );
  assert.match(reasonFor("X", 1, "Temporary failure in name resolution"), /registry cannot be reached/);
  assert.match(
    reasonFor("X", 1, "[Errno 28] No space left on device"),
    /^X failed because the disk is full; free some space/,
  );
  assert.match(reasonFor("X", 3, "a\nb"), /^X failed \(exit 3\); run the same command again.*:\na\nb$/);
});

Deno.test("without a network set-up stops at the first step, in one sentence", async () => {
  await withCopy(true, async (copy) => {
    const nowhere = { NPM_CONFIG_REGISTRY: "http://127.0.0.1:9", DENO_DIR: `${copy.root}/deno-dir` };
    const { code, text } = await copy.setUp(nowhere);
    assert.equal(code, 1);
    oneSentence(text, /^Packages of npm .* failed because the package registry cannot be reached; check the network/);
  });
});

Deno.test(
  "without Python, or with one that lacks venv, one sentence says what to install",
  { ignore: !linux },
  async () => {
    await withCopy(false, async (copy) => {
      const none = await copy.setUp({ PATH: `${copy.root}/nowhere` });
      assert.equal(none.code, 1);
      oneSentence(
        none.text,
        /^There is no Python on the PATH, .*; install Python 3\.10 or later \(Debian, Ubuntu: apt-get install/,
      );

      const bare = await copy.setUp({ PATH: fakeProgram(copy.root, "python3", "echo 3 11; exit 1") });
      assert.equal(bare.code, 1);
      oneSentence(bare.text, /^Python 3\.11 \(python3\) lacks the venv module.*apt-get install python3-venv/);

      const old = await copy.setUp({ PATH: fakeProgram(copy.root, "python3", "echo 3 8") });
      oneSentence(old.text, /^Python 3\.8 \(python3\) is too old, .*install Python 3\.10 or later/);

      const young = await copy.setUp({ PATH: fakeProgram(copy.root, "python3", "echo 3 14") });
      oneSentence(young.text, /^There is no TensorFlow 2\.21 for Python 3\.14 .*install a Python from 3\.10 to 3\.13/);
    });
  },
);

Deno.test(
  "what is optional for the tests is left out with a sentence, and the rest goes on",
  { ignore: !linux },
  async () => {
    await withCopy(false, async (copy) => {
      const code = `import { setUp } from ${JSON.stringify(`file://${copy.root}/lib/notebook/setup.ts`)};
      const { jupyter, tensorflow, problem } = await setUp({ pythonOptional: true });
      console.log(jupyter, tensorflow, problem.slice(0, 18));`;
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["eval", code],
        cwd: copy.root,
        env: { PATH: `${copy.root}/nowhere` },
      }).output();
      const text = new TextDecoder().decode(stdout);
      assert.match(text, /^Going on without JupyterLab or the TensorFlow library\. There is no Python/m);
      assert.match(text, /^false none There is no Python$/m);
    });
  },
);

Deno.test("a node_modules/.bin/deno in a parent folder is named, with what to do", async () => {
  await withCopy(false, async (copy) => {
    assert.equal(shadowedDeno(`${copy.root}/lib`), shadowedDeno("/"));
    const folder = copy.root.replace("/project", "/node_modules/.bin");
    Deno.mkdirSync(folder, { recursive: true });
    Deno.writeTextFileSync(`${folder}/deno`, "");
    const { code, text } = await copy.setUp();
    assert.equal(code, 1);
    oneSentence(text, new RegExp(`^${folder}/deno stands in the way .*remove it: rm ${folder}/deno$`));
  });
});

Deno.test("a second set-up waits for the first", { ignore: !linux }, async () => {
  await withCopy(false, async (copy) => {
    Deno.mkdirSync(`${copy.root}/.venv/tessera`, { recursive: true });
    using file = Deno.openSync(`${copy.root}/.venv/tessera/lock`, { write: true, create: true });
    file.lockSync(true);
    file.writeSync(new TextEncoder().encode("4711"));
    const second = copy.setUp({ PATH: `${copy.root}/nowhere` });
    const early = await Promise.race([second, new Promise((resolve) => setTimeout(() => resolve("waits"), 700))]);
    assert.equal(early, "waits");
    file.unlockSync();
    const { text } = await second;
    assert.match(text, /^Another set-up \(process 4711\) is under way; waiting for it\.$/m);
    assert.match(text, /no Python/);
  });
});

// What follows installs everything into a copy: half a minute with warm caches.

Deno.test("from nothing, set-up makes everything, then finds and repairs whatever is broken", {
  ignore: !full || !linux,
}, async () => {
  await withCopy(true, async (copy) => {
    const first = await copy.setUp({ TESSERA_TENSORFLOW: "cpu" });
    assert.equal(first.code, 0, first.text);
    assert.equal(first.text.match(/ MB +\d+\.\d s$/gm)?.length, 5, first.text);
    assert.match((await copy.setUp()).text, /^Ready \(0\.\d\d s\)\.$/m);
    const lock = (folder: string) => Deno.readTextFileSync(`${folder}/deno.lock`);
    assert.equal(lock(copy.root), lock(root), "set-up leaves the lock file as it is");

    const packages = `${copy.root}/.venv/lib/${[...Deno.readDirSync(`${copy.root}/.venv/lib`)][0].name}/site-packages`;
    const library = `${packages}/tensorflow/libtensorflow_cc.so.2`;
    const stamp = `${copy.root}/.venv/tessera/jupyter.json`;
    const breakages: [() => void, RegExp][] = [
      [() => Deno.removeSync(`${copy.root}/node_modules/arquero`), /npm.*\(node_modules\/arquero is missing\)/],
      [() => {
        Deno.removeSync(library); // a new file: the installer's cache shares the old one
        Deno.writeTextFileSync(library, "cut");
      }, /TensorFlow.*\(all of tensorflow\/libtensorflow_cc\.so\.2 is missing\)/],
      [() => {
        const { key } = JSON.parse(Deno.readTextFileSync(stamp));
        Deno.writeTextFileSync(stamp, JSON.stringify({ state: "started", key }));
      }, /JupyterLab.*\(the last set-up did not finish\)/],
      [
        () => Deno.removeSync(`${copy.root}/.venv/bin/python`),
        /Python environment.*\(\.venv\/bin\/python is missing\)/,
      ],
    ];
    for (const [breakIt, reason] of breakages) {
      breakIt();
      const repaired = await copy.setUp();
      assert.equal(repaired.code, 0, repaired.text);
      assert.match(repaired.text, reason);
      assert.match((await copy.setUp()).text, /^Ready \(0\.\d\d s\)\.$/m);
    }

    const nowhere = {
      PIP_INDEX_URL: "http://127.0.0.1:9",
      UV_DEFAULT_INDEX: "http://127.0.0.1:9",
      UV_CACHE_DIR: `${copy.root}/cache`,
    };
    Deno.removeSync(`${copy.root}/.venv/share/jupyter/labextensions/jupyterlab-plotly`, { recursive: true });
    const offline = await copy.setUp(nowhere);
    assert.equal(offline.code, 1);
    oneSentence(offline.text, /^JupyterLab .* failed because the package registry cannot be reached/);
    const again = await copy.setUp();
    assert.match(again.text, /JupyterLab.*\(the last set-up did not finish\)/);

    const moved = `${copy.root}-moved`;
    Deno.renameSync(copy.root, moved);
    try {
      const { code, stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", `${moved}/lib/notebook/setup.ts`],
        cwd: moved,
      }).output();
      assert.equal(code, 0);
      assert.match(new TextDecoder().decode(stdout), /Python environment.*the project was moved/);
    } finally {
      Deno.renameSync(moved, copy.root);
    }
  });
});

Deno.test(
  "a set-up that is killed in the middle is finished by the next one",
  { ignore: !full || !linux },
  async () => {
    await withCopy(false, async (copy) => {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", `${copy.root}/lib/notebook/setup.ts`],
        cwd: copy.root,
        env: { TESSERA_TENSORFLOW: "none" },
        stdout: "null",
        detached: true, // a process group of its own: who switches off ends what set-up has started too
      }).spawn();
      const stamp = `${copy.root}/.venv/tessera/python.json`;
      for (let tries = 0; !(await Deno.stat(stamp).then(() => true, () => false)); tries++) {
        assert.ok(tries < 500, "set-up has not come to the Python environment within 10 s");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await new Promise((resolve) => setTimeout(resolve, 1500));
      Deno.kill(-child.pid, "SIGKILL");
      await child.status;
      const { code, text } = await copy.setUp({ TESSERA_TENSORFLOW: "none" });
      assert.equal(code, 0, text);
      assert.match(text, /\(the last set-up did not finish\)/);
      assert.match(text, /^Ready/m);
    });
  },
);
