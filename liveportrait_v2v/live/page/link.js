// The WebSocket to the server: pictures both ways, and messages. It goes on by itself when the server is back.

const MOST_REMEMBERED = 16;
const FROM_PAGE = 4;
const TO_PAGE = 8;
const FOUND = 1;
const NEUTRAL = 2;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const SLOW_MS = 150; // a picture's way there and back, from which the server is not near
const MOST_SLOW = 8; // pictures in a row: a busy machine is slow at times, a tunnel to another always
const TAKEN = 4001;
export const REFUSED = 4002;

export class Link extends EventTarget {
  #socket = null;
  #sent = new Map(); // by a picture's number: the time of the camera's frame, and when it was sent
  #slow = 0; // pictures of late with a slow way, up to MOST_SLOW
  #wanted = 0; // pictures that the server asked for
  #number = 0;
  #wait = 300;
  #refusal = null;

  constructor(controls) {
    super();
    this.controls = controls; // a function that returns them
    this.key = new URLSearchParams(location.hash.slice(1)).get("key");
  }

  get ready() {
    return this.#socket?.greeted === true;
  }

  // Whether the server asked for a picture; what is sent beyond that would only be late.
  get hungry() {
    return this.ready && this.#wanted > 0;
  }

  // Whether bytes cost nothing on the way to the server.
  get near() {
    return LOOPBACK.test(location.hostname) && this.#slow < MOST_SLOW;
  }

  open() {
    const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`;
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(JSON.stringify({ key: this.key, controls: this.controls() }));
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = (event) => this.#closed(event);
    this.#socket = socket;
    this.#sent.clear();
    this.#wanted = 0;
    this.#refusal = null;
  }

  sendPicture(data, time) {
    this.#wanted -= 1;
    const message = new Uint8Array(FROM_PAGE + data.byteLength);
    new DataView(message.buffer).setUint32(0, ++this.#number, true);
    message.set(data, FROM_PAGE);
    if (this.#sent.size === MOST_REMEMBERED) this.#sent.delete(this.#sent.keys().next().value);
    this.#sent.set(this.#number, { time, at: performance.now() });
    this.#socket.send(message);
  }

  send(values) {
    if (this.ready) this.#socket.send(JSON.stringify(values));
  }

  #receive(data) {
    if (typeof data !== "string") return this.#answer(data);
    const values = JSON.parse(data);
    if (values.type === "hello") {
      this.#socket.greeted = true;
      this.#wait = 300;
    } else if (values.type === "want") {
      this.#wanted += 1;
    } else if (values.type === "refused") {
      this.#refusal = values;
    }
    this.dispatchEvent(new CustomEvent(values.type, { detail: values }));
  }

  #answer(data) {
    const view = new DataView(data);
    const number = view.getUint32(0, true);
    const sent = this.#sent.get(number);
    const serverMs = view.getUint16(4, true);
    if (sent && this.near) this.#slow = performance.now() - sent.at - serverMs > SLOW_MS ? this.#slow + 1 : 0;
    // A newer picture took the place of those before.
    for (const old of this.#sent.keys()) if (old <= number) this.#sent.delete(old);
    const flags = view.getUint16(6, true);
    const detail = {
      number,
      time: sent?.time,
      found: (flags & FOUND) > 0,
      neutral: (flags & NEUTRAL) > 0,
      file: new Uint8Array(data, TO_PAGE),
    };
    this.dispatchEvent(new CustomEvent("answer", { detail }));
  }

  #closed(event) {
    const refused = event.code === TAKEN || event.code === REFUSED ? this.#refusal : null;
    this.dispatchEvent(new CustomEvent("closed", { detail: this.#refusal ?? { text: null, code: event.code } }));
    this.#wait = refused ? 1000 : Math.min(this.#wait * 1.5, 3000);
    if (event.code === REFUSED) return;
    setTimeout(() => this.open(), this.#wait);
  }
}
