/**
 * What JupyterLab finds in the project's Python environment: our kernel, and settings that keep it quiet. Written at every
 * start, because the kernelspec names the Deno that runs, and that moves with npx.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { KERNEL_NAME, KERNEL_TITLE, kernelspecFolder, root, venv, writeWhole } from "./paths.ts";

const json = (value: unknown) => JSON.stringify(value, null, 1) + "\n";

/** How JupyterLab starts our kernel. */
export function kernelspec(os: typeof Deno.build.os = Deno.build.os): Record<string, unknown> {
  const parent = fileURLToPath(new URL("./kernel_parent.ts", import.meta.url));
  // Windows has no SIGINT to send: there the plain kernel, which Jupyter interrupts by a message.
  const argv = os === "windows"
    ? [Deno.execPath(), "jupyter", "--kernel", "--conn", "{connection_file}"]
    : [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--v8-flags=--expose-gc", parent, "{connection_file}"];
  return {
    argv,
    display_name: KERNEL_TITLE,
    language: "typescript",
    interrupt_mode: os === "windows" ? "message" : "signal",
    env: os === "windows" ? { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" } : {}, // elsewhere kernel_parent.ts sets them
  };
}

/** Writes kernelspec and settings where they differ from what is there. */
export function writeJupyterFiles(): void {
  writeWhole(`${kernelspecFolder}/kernel.json`, json(kernelspec()));
  writeWhole(
    `${venv}/share/jupyter/lab/settings/overrides.json`,
    json({ "@jupyterlab/apputils-extension:notification": { fetchNews: "false", checkForUpdates: false } }),
  );
  writeWhole(
    `${venv}/etc/jupyter/jupyter_server_config.json`,
    json({
      KernelSpecManager: { ensure_native_kernel: false, allowed_kernelspecs: [KERNEL_NAME] },
      MultiKernelManager: { default_kernel_name: KERNEL_NAME },
      ServerApp: { root_dir: root },
      ZMQChannelsWebsocketConnection: { iopub_msg_rate_limit: 10_000, iopub_data_rate_limit: 100_000_000 },
      LabApp: { news_url: null, extension_manager: "readonly", log_level: "WARN" },
    }),
  );
}
