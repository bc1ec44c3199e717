// The settings: built from what the engine offers, kept while the tab is open, sent as a whole.

const SMOOTHING = [0, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4];
const KEPT = "liveportrait-live";
const REGIONS = {
  all: "Everything",
  exp: "Expression",
  pose: "Head",
  lip: "Lips",
  eyes: "Eyes",
};
const NAMES = {
  rotate_pitch: "Nod",
  rotate_yaw: "Turn",
  rotate_roll: "Tilt",
  blink: "Eyelids",
  wink_left: "Wink, left",
  wink_right: "Wink, right",
  eyebrow: "Brows",
  pupil_x: "Gaze across",
  pupil_y: "Gaze up",
  pupil_x_left: "Gaze across, left",
  pupil_x_right: "Gaze across, right",
  pupil_y_left: "Gaze up, left",
  pupil_y_right: "Gaze up, right",
  aaa: "Mouth: aah",
  eee: "Mouth: eee",
  woo: "Mouth: ooh",
  smile: "Smile",
  pouting: "Lips across",
  move_x: "Move across",
  move_y: "Move down",
  zoom: "Size",
  source: "Own expression",
};
const element = (id) => document.getElementById(id);

export class Controls extends EventTarget {
  #values = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
  #channels = {}; // what the engine offers

  constructor() {
    super();
    element("controls").addEventListener("submit", (event) => event.preventDefault());
    element("region").addEventListener("change", (event) => this.#set("region", event.target.value));
    element("face").addEventListener("change", (event) => this.#set("input_face_index", Number(event.target.value)));
    element("stitching").addEventListener("change", (event) => this.#set("stitching", event.target.checked));
    element("strength").addEventListener("input", (event) => this.#set("driving_multiplier", Number(event.target.value)));
    element("smoothing").addEventListener("input", (event) => this.#set("smoothing", SMOOTHING[event.target.value]));
    element("reset").addEventListener("click", () => this.#set("channels", {}));
  }

  // Returns the values that differ from what the engine takes by itself.
  get values() {
    return this.#values;
  }

  // Builds the controls, which are hidden before, from what the engine offers.
  offer(engine, parameters, channels) {
    this.#parameters = parameters;
    this.#channels = channels;
    element("motion").hidden = false;
    const region = element("region");
    region.replaceChildren(...parameters.region.choices.map((name) => new Option(REGIONS[name] ?? name, name)));
    const strength = element("strength");
    strength.min = parameters.driving_multiplier.low;
    strength.max = parameters.driving_multiplier.high;
    element("smoothing").max = SMOOTHING.length - 1;
    for (const [id, name] of [["region", "region"], ["strength", "driving_multiplier"], ["smoothing", "smoothing"], ["stitching", "stitching"]]) {
      element(id).title = parameters[name].help;
    }
    // The draft keeps shoulders in place by its mesh; there is nothing to compare.
    element("stitching-row").hidden = engine !== "liveportrait";
    element("expression").hidden = Object.keys(channels).length === 0;
    element("channels").replaceChildren(...Object.entries(channels).map(([name, channel]) => this.#slider(name, channel)));
    this.#show();
  }

  // Keeps nothing for the next time that the page is loaded.
  forget() {
    sessionStorage.removeItem(KEPT);
  }

  setFaces(count) {
    element("face-row").hidden = count < 2;
    element("face").replaceChildren(...Array.from({ length: count }, (_, number) => new Option(number ? `Face ${number}` : "Face 0, the largest", number)));
    if ((this.#values.input_face_index ?? 0) >= count) this.#set("input_face_index", 0);
    this.#show();
  }

  #parameters = {};

  #slider(name, channel) {
    const row = document.createElement("div");
    row.className = "slider";
    row.title = channel.help;
    const label = document.createElement("label");
    label.htmlFor = `channel-${name}`;
    label.textContent = NAMES[name] ?? name;
    const shown = document.createElement("output");
    const range = document.createElement("input");
    Object.assign(range, { type: "range", id: label.htmlFor, min: channel.low, max: channel.high });
    range.step = (channel.high - channel.low) / 200;
    range.addEventListener("input", () => {
      const others = { ...this.#values.channels };
      // The neutral value has a notch around it.
      const near = Math.abs(range.value - channel.neutral) < (channel.high - channel.low) / 60;
      if (near) delete others[name];
      else others[name] = Number(range.value);
      this.#set("channels", others);
    });
    range.addEventListener("dblclick", () => {
      const { [name]: _, ...others } = this.#values.channels ?? {};
      this.#set("channels", others);
    });
    row.append(label, shown, range);
    return row;
  }

  #set(name, value) {
    this.#values = { ...this.#values, [name]: value };
    sessionStorage.setItem(KEPT, JSON.stringify(this.#values));
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    const value = (name) => this.#values[name] ?? this.#parameters[name]?.default;
    if (value("region") === undefined) return;
    element("region").value = value("region");
    element("face").value = value("input_face_index");
    element("stitching").checked = value("stitching");
    element("strength").value = value("driving_multiplier");
    element("strength-value").value = `${Math.round(100 * value("driving_multiplier"))} %`;
    const place = SMOOTHING.indexOf(value("smoothing"));
    element("smoothing").value = place;
    element("smoothing-value").value = place === 0 ? "off" : `${place} of ${SMOOTHING.length - 1}`;
    const channels = this.#values.channels ?? {};
    for (const [name, channel] of Object.entries(this.#channels)) {
      const range = element(`channel-${name}`);
      const shown = channels[name] ?? channel.neutral;
      range.value = shown;
      range.previousElementSibling.value = channel.high - channel.low < 5 ? shown.toFixed(2) : Math.round(shown);
    }
    element("reset").disabled = Object.keys(channels).length === 0;
  }
}
