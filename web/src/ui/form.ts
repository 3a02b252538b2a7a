/** The settings of a run as a form. It writes what the visitor chooses into `settings`. */

import { h, put } from "../dom";
import type { Opened } from "../engine/client";
import type { Settings } from "../engine/protocol";
import { LIMITS, threshold, withThreshold, within } from "../settings";

interface Hooks {
  submit: () => void;
  change: () => void;
  actions: Node[];
}

/** What a policy starts with when it is chosen. */
const EXAMPLES: Record<string, string> = {
  off: "off",
  uniform: "uniform:3",
  mask: "mask:1001",
  tea: "tea:0.1:identity",
  fb: "fb:0.1",
  sea: "sea:0.1",
  easy: "easy:0.05",
};

/** The slider's thresholds: three decades, finer where it matters. */
const DECADES: [number, number] = [-3, 0];

export function form(settings: Settings, hooks: Hooks) {
  const digits = h("fieldset", { class: "digits" }, h("legend", {}, "Digit"));
  for (let digit = LIMITS.class.min; digit <= LIMITS.class.max; digit++) {
    const input = h("input", {
      type: "radio",
      name: "class",
      value: digit,
      onchange: () => {
        settings.class = digit;
        hooks.change();
      },
    });
    input.checked = digit === settings.class;
    digits.append(h("label", {}, input, h("span", {}, digit)));
  }

  const number = (name: "seed" | "steps" | "guidance" | "time", label: string, about: string) => {
    const { min, max, step } = LIMITS[name];
    const input = h("input", {
      type: "number",
      id: name,
      min,
      max,
      step,
      value: settings[name],
      required: true,
      "aria-describedby": `${name}-about`,
      onchange: () => {
        settings[name] = within(name, input.valueAsNumber);
        input.value = String(settings[name]);
        hooks.change();
      },
    });
    const field = h("div", { class: "field" }, h("label", { for: name }, label), input, h("small", { id: `${name}-about` }, about));
    return { input, field };
  };
  const seed = number("seed", "Seed", "the noise that both clips start from");
  const another = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        settings.seed = crypto.getRandomValues(new Uint32Array(1))[0]! % 1_000_000;
        seed.input.value = String(settings.seed);
        hooks.change();
      },
    },
    "Another",
  );
  seed.field.append(another);
  seed.field.classList.add("seed");
  const steps = number("steps", "Steps", "noise levels from noise to clip");
  const guidance = number("guidance", "Guidance", "how strongly the digit is asked for");

  const time = number("time", "Timed pairs", "runs without pictures, in turn");

  const policy = h("select", { id: "policy", onchange: () => choose() });
  const about = h("small", { id: "policy-about" });
  const written = h("input", {
    type: "text",
    id: "cache",
    value: settings.cache,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    "aria-describedby": "policy-about",
    onchange: () => {
      settings.cache = written.value.trim() || "off";
      follow();
      hooks.change();
    },
  });
  const slider = h("input", {
    type: "range",
    id: "threshold",
    min: DECADES[0],
    max: DECADES[1],
    step: 0.01,
    oninput: () => {
      settings.cache = withThreshold(settings.cache, Number((10 ** slider.valueAsNumber).toPrecision(2)));
      follow();
    },
    onchange: () => hooks.change(),
  });
  const value = h("output", { for: "threshold" });
  const delta = h("div", { class: "field" }, h("label", { for: "threshold" }, "Threshold δ ", value), slider);
  let opened: Opened | null = null;

  function choose(): void {
    const chosen = opened?.policies.find(({ name }) => name === policy.value);
    if (!chosen) return;
    settings.cache = EXAMPLES[chosen.name] ?? chosen.name;
    follow();
    hooks.change();
  }

  /** Brings the fields in line with the settings. */
  function follow(): void {
    const name = settings.cache.split(/[:+]/)[0] ?? "";
    const entry = opened?.policies.find((p) => p.name === name);
    written.value = settings.cache;
    if (entry) policy.value = entry.name;
    const current = entry ? threshold(settings.cache, entry.syntax) : null;
    delta.hidden = current === null;
    if (current !== null) {
      slider.value = String(Math.log10(Math.max(current, 1e-9)));
      value.textContent = String(current);
      slider.setAttribute("aria-valuetext", String(current));
    }
    about.textContent = entry ? `${entry.syntax}: skips a step when ${entry.skips_when}` : opened ? "no policy of that name" : "";
  }

  const gate = h("fieldset", { class: "choices" }, h("legend", {}, "Who decides"));
  for (const [name, label, note] of [
    ["device", "the device", "nothing waits: all steps are queued"],
    ["host", "the host", "each step is read back and decided here"],
  ] as const) {
    const input = h("input", {
      type: "radio",
      name: "gate",
      value: name,
      onchange: () => {
        settings.gate = name;
        hooks.change();
      },
    });
    input.checked = settings.gate === name;
    gate.append(h("label", {}, input, h("span", {}, label, h("small", {}, note))));
  }

  const element = h(
    "form",
    {
      class: "controls",
      "aria-label": "Settings",
      onsubmit: (event: Event) => {
        event.preventDefault();
        hooks.submit();
      },
    },
    digits,
    seed.field,
    h("div", { class: "row" }, ...hooks.actions),
    h("div", { class: "fields" }, steps.field, guidance.field, time.field),
    h("div", { class: "field" }, h("label", { for: "policy" }, "Cache policy"), policy),
    delta,
    h("div", { class: "field" }, h("label", { for: "cache" }, "As it is written"), written, about),
    gate,
  );
  follow();
  return {
    element,
    /** The policies that the program knows. */
    opened(now: Opened): void {
      if (opened === now) return;
      opened = now;
      // Only policies that need no file.
      const offered = now.policies.filter(({ name }) => name in EXAMPLES);
      put(policy, ...offered.map(({ name }) => h("option", { value: name }, name)));
      follow();
    },
  };
}
