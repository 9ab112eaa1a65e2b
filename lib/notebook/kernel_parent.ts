/**
 * The kernelspec starts this small process; it starts the Deno kernel and makes the Stop button work.
 *
 * Jupyter interrupts with SIGINT (`interrupt_mode: signal`). The kernel alone would die of it, and Jupyter's other way, an
 * interrupt request, ends synchronous code but leaves a kernel that awaits something wedged. So this process takes the
 * signal: it passes it on to `lib/stop.ts`, which it loads into every kernel and which stops awaited work. When that does
 * not answer within 0.4 s, the kernel is in synchronous code, and an interrupt request ends that. Code that awaits
 * something which knows no Stop (a bare promise) goes on, but the kernel lives.
 *
 * Nothing stays behind: a watcher ends the kernel when this process is killed, and this process ends with the one that
 * started it.
 *
 * `deno run -A kernel_parent.ts CONNECTION_FILE`
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { executeContent, LOAD_STOP, packRequest, readConnectionFile } from "./message.ts";
import { exists, sitePackages } from "./paths.ts";
import { cudaEnvironment } from "./platform.ts";
import { Connection, openWhenListening } from "./zmtp.ts";

const ANSWER_MS = 400;
const START_LIMIT_MS = 30_000;
const LOOK_FOR_STARTER_MS = 1000;

/** The kernel's environment, on top of what is inherited. */
function kernelEnvironment(): Record<string, string> {
  const packages = sitePackages();
  return {
    NO_COLOR: "1",
    TF_CPP_MIN_LOG_LEVEL: "2", // TensorFlow's start-up lines
    DENO_NO_UPDATE_CHECK: "1",
    ...(packages && exists(`${packages}/nvidia/cuda_nvcc`) ? cudaEnvironment(packages) : {}),
  };
}

async function main(connectionFile: string): Promise<never> {
  const connection = readConnectionFile(connectionFile);
  const folder = Deno.makeTempDirSync({ prefix: "tessera-kernel-" });
  const stopFile = `${folder}/presses`;

  const kernel = new Deno.Command(Deno.execPath(), {
    args: ["jupyter", "--kernel", "--conn", connectionFile],
    env: { ...kernelEnvironment(), TESSERA_STOP_FILE: stopFile },
    detached: true, // Jupyter signals our whole process group; the kernel must not be in it
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  const watcher = watch(kernel.pid);
  loadStop(connection).catch((error) => console.error("Stop works for synchronous code only:", error.message));

  const end = async (code: number): Promise<never> => {
    kill(kernel, "SIGKILL");
    await kernel.status;
    await watcher.dismiss();
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch {
      // a temporary folder that stays is no reason to fail
    }
    Deno.exit(code);
  };

  Deno.addSignalListener("SIGINT", () => {
    interrupt(kernel, stopFile, connection).catch((error) => console.error("Stop failed:", error.message));
  });
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", () => void end(0));
  const starter = Deno.ppid;
  setInterval(() => {
    if (Deno.ppid !== starter) end(0);
  }, LOOK_FOR_STARTER_MS);

  return await end((await kernel.status).code);
}

/** Stops what runs: awaited work by the library, anything synchronous by an interrupt request. */
async function interrupt(
  kernel: Deno.ChildProcess,
  stopFile: string,
  connection: { control_port: number; key: string },
): Promise<void> {
  await within(ANSWER_MS, () => presses(stopFile) !== undefined); // a kernel that has just started is still loading it
  const before = presses(stopFile);
  if (before !== undefined) {
    kernel.kill("SIGINT");
    if (await within(ANSWER_MS, () => presses(stopFile) !== before)) return;
  }
  if (before !== undefined) Deno.writeTextFileSync(stopFile, `${before} ended`); // the signal is still on its way
  const control = await Connection.open(connection.control_port, "DEALER");
  try {
    await control.send(packRequest(connection.key, randomUUID(), "interrupt_request", {}).frames);
    await control.receive();
  } finally {
    control.close();
  }
}

/** Loads `lib/stop.ts` into the new kernel, by a silent request. */
async function loadStop(connection: { shell_port: number; key: string }): Promise<void> {
  const shell = await openWhenListening(connection.shell_port, "DEALER", START_LIMIT_MS);
  try {
    await shell.send(
      packRequest(connection.key, randomUUID(), "execute_request", executeContent(LOAD_STOP, true)).frames,
    );
    await shell.receive();
  } finally {
    shell.close();
  }
}

/** Looks again and again until the time is over; whether it came true. */
async function within(ms: number, isTrue: () => boolean): Promise<boolean> {
  const until = performance.now() + ms;
  while (!isTrue()) {
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}

/** What the library in the kernel says about presses; undefined while it is not loaded. */
function presses(stopFile: string): string | undefined {
  try {
    return Deno.readTextFileSync(stopFile) || undefined;
  } catch {
    return undefined;
  }
}

function kill(process: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    process.kill(signal);
  } catch {
    // ended already
  }
}

/**
 * Starts a shell that waits for our end of a pipe: when we are killed, the pipe closes and it kills the kernel. A line
 * through the pipe sends it away instead, so that it never hits a process that got the same number later.
 */
function watch(pid: number): { dismiss(): Promise<void> } {
  if (Deno.build.os === "windows") return { dismiss: () => Promise.resolve() };
  const shell = new Deno.Command("/bin/sh", {
    args: ["-c", `trap '' INT TERM HUP; read line || kill -9 ${pid}`],
    detached: true,
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async dismiss() {
      try {
        const pipe = shell.stdin.getWriter();
        await pipe.write(new TextEncoder().encode("done\n"));
        await pipe.close();
      } catch {
        // somebody ended it
      }
      await shell.status;
    },
  };
}

if (import.meta.main) {
  if (Deno.args.length !== 1) {
    console.error(
      "Usage: deno run -A kernel_parent.ts CONNECTION_FILE (Jupyter starts this; see lib/notebook/setup.ts)",
    );
    Deno.exit(2);
  }
  await main(Deno.args[0]);
}
