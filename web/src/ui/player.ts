/** Clips side by side, in step with each other. */

import { h } from "../dom";

const FRAMES_PER_SECOND = 8;

/** One clip on a canvas. */
export class Screen {
  readonly canvas: HTMLCanvasElement;
  readonly figure: HTMLElement;
  private caption = h("span", { class: "caption-note" }, "");
  private frames: Uint8Array | null = null;
  private shape = { frames: 1, height: 32, width: 32 };

  constructor(readonly title: string) {
    this.canvas = h("canvas", { width: 32, height: 32, role: "img", "aria-label": `${title}: no clip yet` });
    this.figure = h(
      "figure",
      { class: "screen" },
      this.canvas,
      h("figcaption", {}, h("strong", {}, title), this.caption),
    );
  }

  note(text: string): void {
    this.caption.textContent = text;
  }

  label(text: string): void {
    this.canvas.setAttribute("aria-label", `${this.title}: ${text}`);
  }

  /** Grey bytes, frame by frame. */
  show(frames: Uint8Array | null, shape: { frames: number; height: number; width: number }): void {
    this.frames = frames;
    this.shape = shape;
    if (this.canvas.width !== shape.width) this.canvas.width = shape.width;
    if (this.canvas.height !== shape.height) this.canvas.height = shape.height;
    if (!frames) this.canvas.getContext("2d")?.clearRect(0, 0, shape.width, shape.height);
  }

  draw(frame: number): void {
    const { height, width, frames } = this.shape;
    const context = this.canvas.getContext("2d");
    if (!this.frames || !context) return;
    const size = height * width;
    const grey = this.frames.subarray((frame % frames) * size, ((frame % frames) + 1) * size);
    const image = context.createImageData(width, height);
    grey.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
    context.putImageData(image, 0, 0);
  }
}

/** Plays screens together: a button, and a slider over the frames. Stands still where motion is unwelcome. */
export class Player {
  readonly controls: HTMLElement;
  private frame = 0;
  private frames = 1;
  private playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  private timer = 0;
  private button = h("button", { type: "button", class: "quiet", onclick: () => this.play(!this.playing) });
  private slider = h("input", {
    type: "range",
    min: 0,
    max: 0,
    value: 0,
    "aria-label": "Frame",
    oninput: () => {
      this.play(false);
      this.go(Number(this.slider.value));
    },
  });

  constructor(private screens: Screen[]) {
    this.controls = h("div", { class: "player" }, this.button, this.slider);
    this.play(this.playing);
  }

  length(frames: number): void {
    this.frames = frames;
    this.slider.max = String(frames - 1);
    this.go(Math.min(this.frame, frames - 1));
  }

  /** Draws what the screens hold now. */
  redraw(): void {
    this.go(this.frame);
  }

  /** Ends the timer, when the page is left. */
  stop(): void {
    clearInterval(this.timer);
  }

  private play(playing: boolean): void {
    this.playing = playing;
    this.button.textContent = playing ? "Pause" : "Play";
    clearInterval(this.timer);
    if (playing) this.timer = window.setInterval(() => this.go(this.frame + 1), 1000 / FRAMES_PER_SECOND);
  }

  private go(frame: number): void {
    this.frame = frame % this.frames;
    this.slider.value = String(this.frame);
    this.slider.setAttribute("aria-valuetext", `frame ${this.frame + 1} of ${this.frames}`);
    for (const screen of this.screens) screen.draw(this.frame);
  }
}
