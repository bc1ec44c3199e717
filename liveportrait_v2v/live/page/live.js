// The live page: camera, link, result and recordings wired together.

import { Camera } from "./camera.js";
import { Controls } from "./controls.js";
import { Link, REFUSED } from "./link.js";
import { Microphone, Recorder } from "./recorder.js";

const element = (id) => document.getElementById(id);
const KEPT = "liveportrait-live-page";
const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
const WINDOW_MS = 2000; // of the figures
const JPEG = "image/jpeg";
const LOST_MS = 300; // for which a face is missing before the pictures say so

const controls = new Controls();
const link = new Link(() => controls.values);
const camera = new Camera(element("camera"));
const microphone = new Microphone();
const recorder = new Recorder(microphone);
const canvas = element("result");
const pen = canvas.getContext("2d", { alpha: false });

const drawn = []; // [time, delay] of the results in the last WINDOW_MS
let total = 0; // results drawn
let begun = 0; // the camera's frames before the link was there
let fresh = null; // the time of the camera's newest frame, until it is sent
let sending = false;
let latest = 0; // number of the result that is shown
let state = { found: true, neutral: false };
let lostSince = null;
let recording = 0; // its start
let count = 0; // of recordings

function keep(name, value) {
  kept[name] = value;
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
}

function delay() {
  const delays = drawn.map(([, ms]) => ms).filter((ms) => ms !== null).sort((a, b) => a - b);
  return delays.length ? delays[delays.length >> 1] : 0;
}

// Pictures to the server

camera.addEventListener("frame", ({ detail }) => {
  fresh = detail.time;
  sendFresh();
});

link.addEventListener("want", sendFresh);

// Sends the camera's newest frame, if the server wants one and it was not sent before.
async function sendFresh() {
  if (fresh === null || sending || !link.hungry) return;
  const time = fresh;
  fresh = null;
  sending = true;
  const picture = await camera.picture(link.near);
  sending = false;
  if (picture && link.hungry) link.sendPicture(picture, time); // unless camera or link were lost meanwhile
  sendFresh();
}

// Results from it

link.addEventListener("answer", async ({ detail }) => {
  const picture = await decoded(detail.file);
  const ofSource = detail.number === 0;
  if (ofSource || detail.number > latest) {
    const width = picture.displayWidth ?? picture.width;
    const height = picture.displayHeight ?? picture.height;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    pen.drawImage(picture, 0, 0);
  }
  picture.close();
  if (ofSource) return;
  if (detail.number > latest) {
    latest = detail.number;
    total += 1;
    const now = performance.now();
    drawn.push([now, detail.time === undefined ? null : now - detail.time]);
    canvas.dataset.number = detail.number;
    while (drawn[0][0] < now - WINDOW_MS) drawn.shift();
  }
  show({ found: detail.found, neutral: detail.neutral });
});

// Decodes the bytes of a JPEG file.
async function decoded(file) {
  if (!self.ImageDecoder) return createImageBitmap(new Blob([file], { type: JPEG }));
  // In the page's own process, where a Blob would go through another one.
  const decoder = new ImageDecoder({ data: file, type: JPEG });
  const { image } = await decoder.decode();
  decoder.close();
  return image;
}

function show(next) {
  state = next;
  lostSince = state.found ? null : (lostSince ?? performance.now());
  const gone = camera.stream && lostSince !== null && performance.now() - lostSince >= LOST_MS;
  const lost = gone ? "No face found – looking for it" : "";
  say("camera-say", cameraSays || lost);
  const waiting = state.neutral ? "" : "Look straight ahead for a moment";
  say("result-say", link.ready && camera.stream ? lost || waiting : "");
}

// Shows a text, unless it is there.
function say(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

// Words about the camera and the link

let cameraSays = "Waiting for the camera …";
camera.addEventListener("say", ({ detail }) => {
  cameraSays = detail;
  show(state);
});
camera.addEventListener("opened", listDevices);

link.addEventListener("hello", ({ detail }) => {
  element("banner").hidden = true;
  begun = camera.frames;
  total = latest = 0;
  state = { found: true, neutral: false };
  element("about").textContent = `${detail.engine} engine`;
  controls.offer(detail.engine, detail.parameters, detail.channels);
  showSource(detail.source);
  show(state);
});
link.addEventListener("closed", ({ detail }) => {
  element("banner").textContent =
    detail.text ?? "The server is gone. Start it again with liveportrait-v2v live: this page goes on by itself.";
  element("banner").hidden = false;
  // What another version kept may be what this one refuses.
  if (detail.code === REFUSED) controls.forget();
  drawn.length = 0;
  show({ ...state, neutral: false });
});
link.addEventListener("error", ({ detail }) => {
  element("source-say").textContent = detail.text ?? "";
});
link.addEventListener("facts", ({ detail }) => {
  const lag = Math.round(detail.lag_ms);
  const jitter = detail.jitter ? ` Jitter ${detail.jitter[1].toFixed(1)} ‰ of the face's width.` : "";
  element("smoothing-say").textContent = `Adds ${lag} ms.${jitter}`;
});

setInterval(() => {
  const now = performance.now();
  while (drawn.length && drawn[0][0] < now - WINDOW_MS) drawn.shift();
  element("rate").textContent = drawn.length ? (drawn.length / (WINDOW_MS / 1000)).toFixed(0) : "–";
  element("delay").textContent = drawn.length ? Math.round(delay()) : "–";
  element("dropped").textContent = link.ready ? Math.max(0, camera.frames - begun - total) : "–";
  if (recording) element("record-text").textContent = `Stop ${clock((now - recording) / 1000)}`;
}, 500);

// Devices

async function listDevices() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  fill("cameras", "videoinput", "Camera", [["", "Default camera"]], devices, camera.device);
  fill("microphones", "audioinput", "Microphone", [["off", "Off"], ["", "Default microphone"]], devices, element("microphones").value);
}

function fill(id, kind, name, first, devices, chosen) {
  const found = devices.filter((one) => one.kind === kind && one.deviceId && one.deviceId !== "default");
  const options = found.map((one, k) => [one.deviceId, one.label || `${name} ${k + 1}`]);
  element(id).replaceChildren(...[...first, ...options].map(([value, label]) => new Option(label, value)));
  element(id).value = [...element(id).options].some((option) => option.value === chosen) ? chosen : first[0][0];
}

element("cameras").addEventListener("change", (event) => camera.open(event.target.value));
element("microphones").addEventListener("change", async (event) => {
  try {
    await microphone.open(event.target.value);
    await listDevices();
  } catch (error) {
    event.target.value = "off";
    element("hint").textContent =
      error.name === "NotAllowedError"
        ? "The browser may not use the microphone. Allow it in the address bar."
        : "There is no such microphone. Plug one in, or choose another.";
  }
});
element("mirror").addEventListener("change", (event) => setMirror(event.target.checked));

function setMirror(on) {
  camera.mirror = on;
  element("mirror").checked = on;
  element("camera").classList.toggle("mirrored", on);
  keep("mirror", on);
}

// The source

function showSource(source) {
  const kind = source.still ? "picture" : "clip, repeated";
  element("source-name").textContent = `${source.name} (${source.width}x${source.height}, ${kind})`;
  element("source-say").textContent = source.notes.join(" ");
  controls.setFaces(source.faces);
}

element("upload").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  element("source-say").textContent = `Reading ${file.name} …`;
  try {
    const answer = await post(`source?name=${encodeURIComponent(file.name)}`, file);
    const values = await answer.json();
    if (answer.ok) showSource(values.source);
    else element("source-say").textContent = values.error;
  } catch {
    element("source-say").textContent = "The server did not take the file. Is it running?";
  }
});

// Actions

function setNeutral() {
  link.send({ neutral: true });
}

async function toggleFull() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await element("result-frame").requestFullscreen();
}

async function toggleRecord() {
  const button = element("record");
  if (!recorder.on) {
    try {
      recorder.start(canvas, element("keep-camera").checked ? camera.stream : null, delay);
    } catch (error) {
      element("hint").textContent = `This browser can't record: ${error.message}`;
      return;
    }
    recording = performance.now();
  } else {
    recording = 0;
    button.disabled = true;
    const files = await recorder.stop();
    button.disabled = false;
    list(files);
  }
  element("record-text").textContent = recording ? "Stop 0:00" : "Record";
  button.setAttribute("aria-pressed", String(recording > 0));
  for (const id of ["upload", "keep-camera", "microphones", "cameras"]) element(id).disabled = recording > 0;
}

function list(files) {
  count += 1;
  const row = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = `Recording ${count}`;
  row.append(name);
  const addresses = [];
  for (const { name: part, file } of files) {
    const save = document.createElement("a");
    save.href = URL.createObjectURL(file);
    addresses.push(save.href);
    save.download = `live_${count}_${part}.${file.type.startsWith("video/mp4") ? "mp4" : "webm"}`;
    save.textContent = `Save ${part} (${(file.size / 1e6).toFixed(1)} MB)`;
    save.dataset.part = part;
    row.append(save);
    if (part === "camera") row.append(templateButton(file, `live_${count}.safetensors`));
  }
  const away = document.createElement("button");
  away.type = "button";
  away.textContent = "Discard";
  away.addEventListener("click", () => {
    addresses.forEach((address) => URL.revokeObjectURL(address));
    row.remove();
  });
  row.append(away);
  element("takes").prepend(row);
}

function templateButton(file, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Make a motion template";
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Making the template …";
    try {
      const answer = await post("template", file);
      if (!answer.ok) throw new Error((await answer.json()).error);
      const save = document.createElement("a");
      save.href = URL.createObjectURL(await answer.blob());
      save.download = name;
      save.textContent = "Save template";
      save.dataset.part = "template";
      button.replaceWith(save);
    } catch (error) {
      button.disabled = false;
      button.textContent = `${error.message} – try again`;
    }
  });
  return button;
}

function post(path, file) {
  const headers = link.key ? { "x-api-key": link.key } : {};
  return fetch(path, { method: "POST", headers, body: file });
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

element("neutral").addEventListener("click", setNeutral);
element("full").addEventListener("click", toggleFull);
element("record").addEventListener("click", toggleRecord);
const KEYS = { n: setNeutral, f: toggleFull, r: toggleRecord };
document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key.toLowerCase()];
  const types = event.target.matches?.("select");
  if (!act || types || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});

// A slider that is dragged changes more often than the picture.
let changed = 0;
controls.addEventListener("change", () => {
  cancelAnimationFrame(changed);
  changed = requestAnimationFrame(() => link.send({ controls: controls.values }));
});
setMirror(kept.mirror ?? true);
camera.open();
link.open();
