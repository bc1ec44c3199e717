// Recordings of the result, and of the camera, with the microphone's sound.

// H.264 first: on two busy cores VP8 left out three quarters of the pictures.
const KINDS = ["video/mp4;codecs=avc1.42E01F,mp4a.40.2", "video/webm;codecs=vp8,opus", "video/webm", "video/mp4"];
const RATE = 30;
const BITS_A_SECOND = 6_000_000;
const MOST_DELAY_SECONDS = 5;

export class Microphone {
  #context = null;
  #stream = null;

  get on() {
    return this.#stream !== null;
  }

  // Opens a microphone, "" for the usual one, or none for "off".
  async open(device) {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    if (device === "off") return;
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (device) audio.deviceId = { exact: device };
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.#context ??= new AudioContext({ latencyHint: "interactive" });
    await this.#context.resume();
  }

  // Returns the sound as a stream that comes later by some seconds, and what changes these.
  delayed(seconds) {
    const from = this.#context.createMediaStreamSource(this.#stream);
    const delay = this.#context.createDelay(MOST_DELAY_SECONDS);
    const to = this.#context.createMediaStreamDestination();
    delay.delayTime.value = seconds;
    from.connect(delay).connect(to);
    return {
      tracks: to.stream.getAudioTracks(),
      setDelay: (later) => delay.delayTime.setTargetAtTime(later, this.#context.currentTime, 0.5),
      end: () => from.disconnect(),
    };
  }
}

export class Recorder {
  #parts = [];
  #sounds = [];
  #timer = 0;

  constructor(microphone) {
    this.microphone = microphone;
  }

  get on() {
    return this.#parts.length > 0;
  }

  // Starts recording. The result's sound is as late as its pictures: `delay` returns their delay in milliseconds.
  start(canvas, camera, delay) {
    const parts = [["result", canvas.captureStream(RATE).getVideoTracks(), delay]];
    if (camera) parts.push(["camera", camera.getVideoTracks().map((track) => track.clone()), () => 0]);
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    for (const [name, pictures, late] of parts) {
      const tracks = [...pictures];
      if (this.microphone.on) {
        const sound = this.microphone.delayed(late() / 1000);
        this.#sounds.push({ ...sound, late });
        tracks.push(...sound.tracks);
      }
      const recorder = new MediaRecorder(new MediaStream(tracks), {
        mimeType: kind,
        videoBitsPerSecond: BITS_A_SECOND,
      });
      const blocks = [];
      recorder.ondataavailable = (event) => blocks.push(event.data);
      const file = new Promise((done) => {
        recorder.onstop = () => {
          pictures.forEach((track) => track.stop());
          done({ name, file: new Blob(blocks, { type: recorder.mimeType }) });
        };
      });
      this.#parts.push({ recorder, file });
    }
    for (const { recorder } of this.#parts) recorder.start(1000);
    this.#redraw(canvas, canvas.getContext("2d"));
    this.#timer = setInterval(() => {
      for (const sound of this.#sounds) sound.setDelay(sound.late() / 1000);
    }, 1000);
  }

  // Draws a pixel over itself with every refresh of the screen. A file's pictures and its sound both begin at zero: so
  // the first picture must not wait for the next result, and come before its sound.
  #redraw(canvas, pen) {
    if (!this.on) return;
    pen.drawImage(canvas, 0, 0, 1, 1, 0, 0, 1, 1);
    requestAnimationFrame(() => this.#redraw(canvas, pen));
  }

  // Ends recording, and returns the files with their names.
  async stop() {
    clearInterval(this.#timer);
    for (const { recorder } of this.#parts) if (recorder.state !== "inactive") recorder.stop();
    const files = await Promise.all(this.#parts.map((part) => part.file));
    for (const sound of this.#sounds) sound.end();
    this.#parts = [];
    this.#sounds = [];
    return files;
  }
}
