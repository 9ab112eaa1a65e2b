/**
 * The few calls of an HTML canvas that plotly makes for heat maps and images, drawing into an array.
 *
 * @module
 */
import { pictureAddress } from "./png.ts";
import { textWidth } from "./svg_geometry.ts";

interface ImageBlock {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}

/** A drawing area of RGBA pixels. Its size is asked for at each call, because plotly sets it after making the canvas. */
export class Canvas {
  fillStyle = "#000000";
  #width = 0;
  #height = 0;
  #pixels = new Uint8ClampedArray();
  readonly #size: () => { width: number; height: number };

  constructor(size: () => { width: number; height: number }) {
    this.#size = size;
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    this.#fit();
    const colour = readColour(this.fillStyle);
    const right = Math.min(this.#width, Math.round(x + width));
    const bottom = Math.min(this.#height, Math.round(y + height));
    for (let row = Math.max(0, Math.round(y)); row < bottom; row++) {
      for (let column = Math.max(0, Math.round(x)); column < right; column++) {
        this.#pixels.set(colour, 4 * (row * this.#width + column));
      }
    }
  }

  clearRect(): void {
    this.#fit();
    this.#pixels.fill(0);
  }

  createImageData(width: number, height: number): ImageBlock {
    return { width, height, data: new Uint8ClampedArray(width * height * 4) };
  }

  putImageData(block: ImageBlock, x: number, y: number): void {
    this.#fit();
    const columns = Math.min(block.width, this.#width - x);
    for (let row = 0; row < block.height && y + row < this.#height; row++) {
      const from = 4 * row * block.width;
      this.#pixels.set(block.data.subarray(from, from + 4 * columns), 4 * ((y + row) * this.#width + x));
    }
  }

  measureText(text: string): { width: number } {
    return { width: textWidth(text, 12) };
  }

  toDataURL(): string {
    this.#fit();
    return pictureAddress({ width: this.#width, height: this.#height, channels: 4, data: this.#pixels });
  }

  // plotly calls these around its drawing; none of them changes what we draw
  save(): void {}
  restore(): void {}
  scale(): void {}
  translate(): void {}
  drawImage(): void {}

  #fit(): void {
    const { width, height } = this.#size();
    if (width === this.#width && height === this.#height) return;
    this.#width = width;
    this.#height = height;
    this.#pixels = new Uint8ClampedArray(width * height * 4);
  }
}

function readColour(style: string): [number, number, number, number] {
  const parts = style.match(/rgba?\(([^)]+)\)/)?.[1].split(",").map(Number) ??
    [1, 3, 5].map((start) => parseInt(style.slice(start, start + 2), 16));
  return [parts[0], parts[1], parts[2], Math.round(255 * (parts[3] ?? 1))];
}
