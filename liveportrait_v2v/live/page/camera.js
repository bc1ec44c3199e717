// The camera: its picture on the page, and as messages: JPEG files, or its planes as they are.

const LONGEST_SIDE = 640;
const QUALITY = 0.85;
const PLANES = ["I420", "NV12"];
const PLANES_HEAD = 10; // their format, width, height, whether they are to be mirrored, and have the full range
const AGAIN_MS = 1500;

const WHY = {
  NotAllowedError: "The browser may not use the camera. Allow it in the address bar, then reload the page.",
  NotFoundError: "No camera is there. Plug one in: it is taken by itself.",
  NotReadableError: "The camera is in use by another program. Close that one: the camera is taken by itself.",
  OverconstrainedError: "That camera is gone. Choose another, or plug it in again.",
};

export class Camera extends EventTarget {
  #video;
  #canvas = document.createElement("canvas");
  #pen = this.#canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  #stream = null;
  #opening = 0;
  #shown = 0;
  device = "";
  mirror = true;
  frames = 0; // that the camera gave

  constructor(video) {
    super();
    this.#video = video;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#stream ?? this.open());
    this.#await();
  }

  get stream() {
    return this.#stream;
  }

  async open(device = this.device) {
    const mine = ++this.#opening;
    this.device = device;
    this.#stop();
    if (!navigator.mediaDevices) {
      return this.#say("Browsers give a camera only to pages of this machine, or over https.");
    }
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    if (device) video.deviceId = { exact: device };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video });
      if (mine !== this.#opening) return stream.getTracks().forEach((track) => track.stop());
      this.#stream = stream;
      stream.getVideoTracks()[0].addEventListener("ended", () => this.#lost(stream));
      this.#video.srcObject = stream;
      await this.#video.play();
      this.#say("");
      this.dispatchEvent(new Event("opened"));
    } catch (error) {
      if (mine !== this.#opening) return;
      this.#stop();
      this.#say(WHY[error.name] ?? `The camera can't be opened: ${error.message}`);
      if (error.name !== "NotAllowedError") setTimeout(() => mine === this.#opening && this.open(), AGAIN_MS);
    }
  }

  // Returns the current picture as bytes; null where the camera has gone meanwhile. Encoding a JPEG file takes longer than
  // all else that is done for a picture: `near` the server the planes are sent as they are, ten times as many bytes.
  async picture(near) {
    const planes = near ? await this.#planes().catch(() => null) : null;
    return planes ?? this.#file();
  }

  // Returns null where the picture has other planes, or has to be scaled; throws where the browser can't copy them, or the
  // camera has gone.
  async #planes() {
    if (!self.VideoFrame || Math.max(this.#video.videoWidth, this.#video.videoHeight) > LONGEST_SIDE) return null;
    const frame = new VideoFrame(this.#video);
    try {
      const { width, height } = frame.visibleRect;
      if (!PLANES.includes(frame.format) || width % 2 || height % 2) return null;
      const data = new Uint8Array(PLANES_HEAD + frame.allocationSize());
      const head = new DataView(data.buffer);
      data.set(new TextEncoder().encode(frame.format));
      head.setUint16(4, width, true);
      head.setUint16(6, height, true);
      head.setUint8(8, this.mirror);
      head.setUint8(9, frame.colorSpace.fullRange === true);
      await frame.copyTo(data.subarray(PLANES_HEAD));
      return data;
    } finally {
      frame.close();
    }
  }

  // Returns null where the camera has gone.
  #file() {
    const { videoWidth, videoHeight } = this.#video;
    if (!this.#stream || !videoWidth) return null;
    const scale = Math.min(1, LONGEST_SIDE / Math.max(videoWidth, videoHeight));
    const width = Math.round(videoWidth * scale);
    const height = Math.round(videoHeight * scale);
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#pen.setTransform(this.mirror ? -1 : 1, 0, 0, 1, this.mirror ? width : 0, 0);
    this.#pen.imageSmoothingEnabled = scale < 1; // a mirrored picture would be interpolated, too
    this.#pen.drawImage(this.#video, 0, 0, width, height);
    // A Blob would be encoded when the browser has time, and go through another process.
    return bytesOf(this.#canvas.toDataURL("image/jpeg", QUALITY));
  }

  #await() {
    if (this.#video.requestVideoFrameCallback) {
      this.#video.requestVideoFrameCallback((now, frame) => {
        this.#frame(frame.captureTime ?? now, frame.presentedFrames - this.#shown);
        this.#shown = frame.presentedFrames;
        this.#await();
      });
    } else {
      requestAnimationFrame((now) => {
        if (this.#video.currentTime !== this.#shown) this.#frame(now, 1);
        this.#shown = this.#video.currentTime;
        this.#await();
      });
    }
  }

  #frame(time, count) {
    if (!this.#stream) return;
    this.frames += Math.max(count, 1);
    this.dispatchEvent(new CustomEvent("frame", { detail: { time } }));
  }

  #lost(stream) {
    if (stream !== this.#stream) return;
    this.#stop();
    this.#say("The camera is gone. Plug it in again: it is taken by itself.");
    const mine = this.#opening;
    setTimeout(() => mine === this.#opening && this.open(), AGAIN_MS);
  }

  #stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
    this.#shown = 0;
  }

  #say(text) {
    this.dispatchEvent(new CustomEvent("say", { detail: text }));
  }
}

function bytesOf(address) {
  const text = address.slice(address.indexOf(",") + 1);
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
