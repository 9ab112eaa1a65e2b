/**
 * What set-up installs, to the exact version, and how big it is.
 *
 * The packages of npm are pinned by deno.json and deno.lock; everything from the Python package index is pinned here.
 * Megabytes are what lands on disk on Linux x64, measured on 2026-11-24. The CUDA build was installed there too and
 * computes on the CPU; nobody here had a GPU to try it on. Its downloads are 3,380 MB.
 *
 * @module
 */

/** A pinned package of the Python package index. */
export interface Pin {
  name: string;
  version: string;
  megabytes: number;
}

/** The Deno that everything was tried with. */
export const DENO_VERSION = "2.9.6";

/** These report failing cells as successful, so every check of a notebook would be worthless. */
export const REFUSED_DENO_VERSIONS = ["2.8.2", "2.8.3"];

/** Python versions for which there is a TensorFlow 2.21 wheel: 3.10 to 3.13. JupyterLab alone takes any from 3.10. */
export const PYTHON_MINORS = { first: 10, lastForTensorFlow: 13 };

/** node_modules, by `deno install`. */
export const NODE_MODULES_MEGABYTES = 650;

/** The empty Python environment. */
export const VENV_MEGABYTES = 26;

/** The installer; pip takes its place where it cannot be had, ten times slower. */
export const uv: Pin = { name: "uv", version: "0.13.9", megabytes: 60 };

/** The server, its plotly renderer, and the client that runs notebooks without our own runner. */
export const jupyter: Pin[] = [
  { name: "jupyterlab", version: "4.6.6", megabytes: 150 },
  { name: "plotly", version: "7.1.0", megabytes: 60 },
  { name: "nbclient", version: "0.11.0", megabytes: 9 },
];

/** TensorFlow's library for the CPU; its Python dependencies are not wanted. */
export const tensorflowCpu: Pin[] = [{ name: "tensorflow-cpu", version: "2.21.0", megabytes: 1250 }];

/** TensorFlow's library for NVIDIA GPUs: what `tensorflow[and-cuda]==2.21.0` asks for, without the Python parts. */
export const tensorflowCuda: Pin[] = [
  { name: "tensorflow", version: "2.21.0", megabytes: 1839 },
  { name: "nvidia-cublas-cu12", version: "12.9.3.13", megabytes: 817 },
  { name: "nvidia-cuda-cupti-cu12", version: "12.9.79", megabytes: 43 },
  { name: "nvidia-cuda-nvcc-cu12", version: "12.9.86", megabytes: 95 },
  { name: "nvidia-cuda-nvrtc-cu12", version: "12.9.86", megabytes: 217 },
  { name: "nvidia-cuda-runtime-cu12", version: "12.9.79", megabytes: 10 },
  { name: "nvidia-cudnn-cu12", version: "9.28.0.42", megabytes: 1110 },
  { name: "nvidia-cufft-cu12", version: "11.4.1.4", megabytes: 281 },
  { name: "nvidia-curand-cu12", version: "10.3.10.19", megabytes: 162 },
  { name: "nvidia-cusolver-cu12", version: "11.7.5.82", megabytes: 473 },
  { name: "nvidia-cusparse-cu12", version: "12.5.10.65", megabytes: 465 },
  { name: "nvidia-nccl-cu12", version: "2.32.3", megabytes: 469 },
  { name: "nvidia-nvjitlink-cu12", version: "12.9.86", megabytes: 92 },
];

/** How much a list of packages takes. */
export function megabytesOf(pins: Pin[]): number {
  return pins.reduce((sum, { megabytes }) => sum + megabytes, 0);
}

/** A list of packages as an installer takes it. */
export function requirements(pins: Pin[]): string[] {
  return pins.map(({ name, version }) => `${name}==${version}`);
}
