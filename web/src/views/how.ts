/** How it works: from the formula to the kernels to the skip map, with decisions that follow the slider. */

import pairs from "../../../benches/results/2026-11-25-xeon-2.pairs.jsonl?raw";
import calibration from "../../../models/moving-mnist-32.teacache.json";
import { h, put } from "../dom";
import { engine } from "../engine/client";
import { SkipMap } from "../ui/skipmap";

/** Of each class, the distances that one uncached run measured: none at its first step. */
const RECORDED: (number | null)[][] = pairs
  .trim()
  .split("\n")
  .slice(1)
  .map((line) => [null, ...(JSON.parse(line) as { x: number[] }).x]);

const FUNCTIONS = {
  identity: { name: "as it is: f(d) = d", cache: (delta: number) => `tea:${delta}:identity`, delta: 0.1, most: 0.5 },
  // Its coefficients, and the distances that it holds for, are the calibration's.
  fitted: { name: "the polynomial fitted to this model", cache: (delta: number) => `tea:${delta}`, delta: 0.02, most: 0.15 },
} as const;

export function how(root: HTMLElement): () => void {
  const map = new SkipMap("Decisions of the recorded run at this threshold");
  const answer = h("p", { class: "answer", role: "status" });
  const digit = h(
    "select",
    { id: "digit", onchange: () => void replay() },
    ...RECORDED.map((_, i) => h("option", { value: i, selected: i === 6 }, i)),
  );
  const rescale = h(
    "select",
    { id: "rescale", onchange: () => choose() },
    ...Object.entries(FUNCTIONS).map(([value, { name }]) => h("option", { value }, name)),
  );
  const slider = h("input", { type: "range", id: "delta", min: 0, step: 0.001, oninput: () => void replay() });
  const value = h("output", { for: "delta" });

  function choose(): void {
    const { delta, most } = FUNCTIONS[rescale.value as keyof typeof FUNCTIONS];
    slider.max = String(most);
    slider.value = String(delta);
    void replay();
  }

  let newest = 0;
  async function replay(): Promise<void> {
    const mine = ++newest;
    const { cache } = FUNCTIONS[rescale.value as keyof typeof FUNCTIONS];
    const threshold = slider.valueAsNumber;
    value.textContent = threshold.toFixed(3);
    slider.setAttribute("aria-valuetext", threshold.toFixed(3));
    const distances = RECORDED[Number(digit.value)]!;
    try {
      const steps = await engine.call("replay", { distances, cache: cache(threshold), calibration });
      // Another position of the slider has been asked for since.
      if (mine !== newest) return;
      map.show(steps, steps.length, threshold);
      const computed = steps.filter(({ decision }) => decision !== "S").length;
      answer.textContent = `${computed} of ${steps.length} steps run the transformer, so the clip can be made at most ${(steps.length / computed).toFixed(2)}× faster.`;
    } catch (error) {
      answer.textContent = `It did not work: ${(error as Error).message}`;
    }
  }

  put(
    root,
    h(
      "article",
      { class: "prose" },
      h("h1", {}, "From the formula to the skip map"),
      h(
        "p",
        {},
        "A diffusion model removes noise from a clip in many small steps, and neighbouring steps do nearly the same. TeaCache asks before each step how much this one would change, and where the answer is “little”, it reuses what the transformer added last time.",
      ),
      h("h2", {}, "1. The formula"),
      h(
        "p",
        {},
        "Before a step, the model has already embedded the noisy clip and the time, and modulated the first block’s input by them: M. That is cheap, and it moves when the output is going to move. So measure how far it has moved:",
      ),
      h(
        "pre",
        { tabindex: 0, role: "region", "aria-label": "The formula" },
        [
          "d    = Σ|Mₜ − Mₜ₋₁| / Σ|Mₜ₋₁|",
          "f(d) = c₄d⁴ + c₃d³ + c₂d² + c₁d + c₀",
          "acc  = acc + f(d)",
          "acc < δ: skip the transformer",
          "else:    run it, acc = 0",
        ].join("\n"),
      ),
      h(
        "p",
        {},
        "d is one number for the whole clip. f says what that means for the output; it is fitted once per model. acc is how far the output has gone since the transformer last ran. δ is the one knob.",
      ),
      h(
        "p",
        {},
        "A skipped step is not a copy of the last output. The transformer’s blocks turn their input h into h + R. A skipped step adds the last R to this step’s h and runs the head as always, so the new noise level still enters. The first and the last step always run.",
      ),
      h("h2", {}, "2. The kernels"),
      h("p", {}, "Three kernels do this, and no number has to leave the device:"),
      h(
        "ul",
        {},
        kernel("modulate_rel_l1", "computes M, which the first block needs anyway, over the M of the step before, and adds up both sums as it goes. That costs one extra read."),
        kernel("tea_gate", "turns the sums into d, f(d), acc and a flag: 1 is compute, 0 is skip."),
        kernel("axpby", "keeps R = out − in after a computed step, and makes out = in + R on a skipped one."),
      ),
      h(
        "p",
        {},
        "Every call of the transformer’s blocks carries the flag. On a GPU such a call is an indirect dispatch, and where the flag is 0 it starts no workgroups. So the program can queue all steps at once and learn at the end what happened. That is the device gate; with the host gate, the program reads d at each step and decides itself.",
      ),
      h("h2", {}, "3. The skip map"),
      h(
        "p",
        {},
        `These distances were recorded in runs of ${RECORDED[0]!.length} steps, one for each digit. Move δ and see which steps would have run. The decisions are made by the same code that decides in a run.`,
      ),
    ),
    h(
      "section",
      { class: "replay card", "aria-label": "Replay" },
      h(
        "div",
        { class: "replay-fields" },
        h("div", { class: "field" }, h("label", { for: "delta" }, "Threshold δ ", value), slider),
        h("div", { class: "field" }, h("label", { for: "rescale" }, "Distances count"), rescale),
        h("div", { class: "field" }, h("label", { for: "digit" }, "Digit"), digit),
      ),
      answer,
      map.element,
    ),
    h(
      "article",
      { class: "prose" },
      h(
        "p",
        { class: "note" },
        "The recorded runs computed every step. In a run that skips, the clip takes a slightly different path, and its distances differ a little from these.",
      ),
      h("h2", {}, "4. What it costs"),
      h(
        "p",
        {},
        "Skipping cannot be faster than its bound, steps divided by computed steps, because skipped steps still measure, add and run the head. And the clip changes: the more is skipped, the less it is like the one that computed every step. PSNR and SSIM say how much.",
      ),
      h(
        "p",
        {},
        "A cache also has rivals that need no measuring: run every third step, or simply make a shorter run. ",
        h("a", { href: "#/generate" }, "Make a clip"),
        " with uniform:3 and see. On this small model, plain alternatives are as good at the same number of computed steps.",
      ),
    ),
  );
  choose();
  return () => void newest++;
}

function kernel(name: string, text: string): HTMLElement {
  return h("li", {}, h("a", { href: `#/kernels/${name}` }, h("code", {}, name)), ` ${text}`);
}
