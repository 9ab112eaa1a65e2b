/**
 * The kernelspec starts this small process. It owns the five sockets by which Jupyter talks to a kernel, starts the real
 * Deno kernel with a connection file of its own, and stands between the two: `kernel/relay.ts` hands requests and outputs on
 * and mends what the kernel gets wrong; `kernel/stop.ts` is the Stop button.
 *
 * Nothing stays behind: a watcher ends the kernel and what it has started when this process is killed, and this process ends
 * with the one that started it.
 *
 * `deno run -A kernel_parent.ts CONNECTION_FILE`
 *
 * @module
 */
import { DenoKernel } from "./kernel/deno_kernel.ts";
import { Relay } from "./kernel/relay.ts";
import { Stop } from "./kernel/stop.ts";
import { readConnectionFile } from "./message.ts";

const LOOK_FOR_STARTER_MS = 1000;

async function main(connectionFile: string): Promise<never> {
  const connection = readConnectionFile(connectionFile);
  const kernel = DenoKernel.start(connection);
  const watcher = watch(kernel.process.pid);

  let ending = false;
  const end = async (code: number): Promise<never> => {
    ending = true;
    await relay.flush();
    kernel.kill();
    await kernel.process.status;
    await watcher.dismiss();
    kernel.forget();
    Deno.exit(code);
  };
  const relay: Relay = new Relay(connection, kernel, {
    onInterrupt: () => stop.press(),
    onShutdown: () => void end(0),
  });
  const stop: Stop = new Stop(kernel, relay);
  relay.ready.catch((error) => {
    if (ending) return;
    console.error(error.message);
    end(1);
  });

  Deno.addSignalListener("SIGINT", () => void stop.press());
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", () => void end(0));
  const starter = Deno.ppid;
  setInterval(() => {
    if (Deno.ppid !== starter) end(0);
  }, LOOK_FOR_STARTER_MS);

  const { code, signal } = await kernel.process.status;
  if (ending) return await new Promise<never>(() => {}); // end() is under way
  await relay.dead(`the kernel ended by itself (${reason(code, signal)}); what the notebook has defined is lost`);
  return await end(code);
}

/** Why a process ended, for people. */
function reason(code: number, signal: Deno.Signal | null): string {
  if (signal === "SIGKILL") return `exit ${code}: somebody killed it, or the memory was full`;
  if (signal) return `exit ${code}: ${signal}, a crash in a native library`;
  return `exit ${code}: a cell or a library called Deno.exit`;
}

/**
 * Starts a shell that waits for our end of a pipe: when we are killed, the pipe closes and it kills the kernel and all of
 * its process group. A line through the pipe sends it away instead, so that it never hits a process that got the same number
 * later.
 */
function watch(pid: number): { dismiss(): Promise<void> } {
  if (Deno.build.os === "windows") return { dismiss: () => Promise.resolve() };
  const shell = new Deno.Command("/bin/sh", {
    args: ["-c", `trap '' INT TERM HUP; read line || { kill -9 -${pid}; kill -9 ${pid}; }`],
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
