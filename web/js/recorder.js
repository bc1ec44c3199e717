// Load Video's recorder: the camera and the microphone become a file in the input folder, chosen in the node.

import { app } from '../../../scripts/app.js'
import { inLanguage } from './language.js'
import { choose, upload } from './upload.js'

const NAME = 'lpv2v_recorder'
const FOLDED = 34
const OPEN = 258
const BITS_PER_SECOND = { videoBitsPerSecond: 5_000_000, audioBitsPerSecond: 128_000 }
// VP8 first: encoding VP9 takes most of a small computer, and frames are lost. Safari has MP4 alone.
const FORMATS = ['video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4']

const WORDS = {
  en: {
    open: '● Record with the camera',
    record: '● Record',
    stop: '■ Stop',
    close: 'Close',
    camera: 'Camera',
    ready: 'Begin with a neutral face, looking into the camera.',
    mute: 'No microphone: the recording has no sound.',
    opening: 'Waiting for the camera: allow it in the browser.',
    saving: 'Saving the recording …',
    insecure: 'The browser gives the camera to https pages and to localhost only: open ComfyUI at one of these.',
    denied: 'The browser does not allow the camera: allow it at the address bar, then try again.',
    missing: 'No camera was found: connect one, then try again.',
    busy: 'Another program uses the camera: end it there, then try again.',
    gone: 'The camera was disconnected.',
    unable: 'This browser cannot record: use a current Firefox, Chrome, Edge or Safari.',
    empty: 'Nothing was recorded: record for a second at least.',
    large: (size) =>
      `The recording has ${size} MB, more than ComfyUI accepts: start it with a larger --max-upload-size, or record less.`,
    failed: (reason) => `The recording could not be saved: ${reason}.`,
    keep: 'Keep the file here'
  },
  zh: {
    open: '● 用摄像头录制',
    record: '● 录制',
    stop: '■ 停止',
    close: '关闭',
    camera: '摄像头',
    ready: '请先面向摄像头，以自然无表情的脸开始。',
    mute: '没有麦克风：录像没有声音。',
    opening: '正在等待摄像头：请在浏览器中允许使用。',
    saving: '正在保存录像…',
    insecure: '浏览器只允许 https 页面和 localhost 使用摄像头：请用这样的地址打开 ComfyUI。',
    denied: '浏览器不允许使用摄像头：请在地址栏处允许，然后重试。',
    missing: '未找到摄像头：请接好后重试。',
    busy: '摄像头正被其他程序占用：请先在那里关闭，然后重试。',
    gone: '摄像头已断开。',
    unable: '此浏览器无法录制：请使用新版 Firefox、Chrome、Edge 或 Safari。',
    empty: '没有录到内容：请至少录制一秒。',
    large: (size) => `录像有 ${size} MB，超过 ComfyUI 的上限：请用更大的 --max-upload-size 启动，或缩短录制。`,
    failed: (reason) => `录像无法保存：${reason}。`,
    keep: '将文件保存到本机'
  },
  ja: {
    open: '● カメラで録画',
    record: '● 録画',
    stop: '■ 停止',
    close: '閉じる',
    camera: 'カメラ',
    ready: 'カメラを見て、無表情の顔から始めてください。',
    mute: 'マイクがないため、録画に音声は入りません。',
    opening: 'カメラを待っています。ブラウザーで使用を許可してください。',
    saving: '録画を保存しています…',
    insecure:
      'ブラウザーがカメラを使わせるのは https のページと localhost だけです。そのアドレスで ComfyUI を開いてください。',
    denied: 'ブラウザーがカメラを許可していません。アドレスバーで許可してから、もう一度お試しください。',
    missing: 'カメラが見つかりません。接続してから、もう一度お試しください。',
    busy: '他のプログラムがカメラを使っています。そちらを終了してから、もう一度お試しください。',
    gone: 'カメラの接続が切れました。',
    unable: 'このブラウザーでは録画できません。最新の Firefox、Chrome、Edge、Safari をお使いください。',
    empty: '何も録画されませんでした。1 秒以上録画してください。',
    large: (size) =>
      `録画は ${size} MB で、ComfyUI の上限を超えています。--max-upload-size を大きくして起動するか、短く録画してください。`,
    failed: (reason) => `録画を保存できませんでした：${reason}。`,
    keep: 'ファイルを手元に保存'
  }
}

const ERRORS = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  OverconstrainedError: 'missing',
  NotReadableError: 'busy',
  AbortError: 'busy'
}

const STYLE = `
.lpv2v-recorder { display: flex; flex-direction: column; gap: 4px; height: 100%; box-sizing: border-box; padding: 2px 6px;
  font: 12px Inter, sans-serif; color: var(--input-text, #ddd) }
.lpv2v-recorder [hidden] { display: none !important }
.lpv2v-recorder button, .lpv2v-recorder select { font: inherit; color: inherit; border: 0; border-radius: 6px; height: 26px;
  padding: 0 8px; background: var(--comfy-input-bg, #222); cursor: pointer; min-width: 0 }
.lpv2v-recorder button:disabled { opacity: 0.5; cursor: default }
.lpv2v-recorder button[data-recording=true] { background: #b3261e; color: #fff }
.lpv2v-recorder video { width: 100%; height: 150px; object-fit: contain; background: #000; border-radius: 6px;
  transform: scaleX(-1) }
.lpv2v-recorder footer { display: flex; gap: 6px; align-items: center }
.lpv2v-recorder footer button, .lpv2v-recorder select { flex: 1 }
.lpv2v-recorder output { font-variant-numeric: tabular-nums }
.lpv2v-recorder p { margin: 0; font-size: 11px; line-height: 14px; overflow-y: auto; max-height: 42px }
.lpv2v-recorder p[data-error=true] { color: var(--p-red-400, #f87171) }
.lpv2v-recorder a { color: var(--p-primary-color, #4aa3ff) }
`

function make(tag, values = {}) {
  return Object.assign(document.createElement(tag), values)
}

async function openCamera(deviceId) {
  if (!navigator.mediaDevices) throw new DOMException('', 'insecure')
  const size = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } }
  const video = deviceId ? { ...size, deviceId: { exact: deviceId } } : size
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: true })
  } catch (error) {
    // Without a microphone, or where that alone is refused, the picture is still wanted.
    return await navigator.mediaDevices.getUserMedia({ video }).catch(() => Promise.reject(error))
  }
}

function fileName(type) {
  const now = new Date()
  const local = new Date(now - now.getTimezoneOffset() * 60_000).toISOString()
  return `camera_${local.slice(0, 19).replace('T', '_').replaceAll(':', '-')}.${type.includes('mp4') ? 'mp4' : 'webm'}`
}

// Save a recording in the input folder and return its name.
async function save(blob, name) {
  const answer = await upload(new File([blob], name, { type: blob.type.split(';')[0] }))
  if (answer.ok) return (await answer.json()).name
  const words = inLanguage(WORDS)
  if (answer.status === 413) throw new Error(words.large(Math.ceil(blob.size / 1e6)))
  throw new Error(words.failed(`${answer.status} ${answer.statusText}`))
}

class Recorder {
  constructor(node) {
    this.node = node
    const words = inLanguage(WORDS)
    this.element = make('div', { className: 'lpv2v-recorder' })
    this.opener = make('button', { type: 'button', textContent: words.open, onclick: () => this.open() })
    this.video = make('video', { muted: true, autoplay: true, playsInline: true })
    this.cameras = make('select', { ariaLabel: words.camera, title: words.camera, onchange: () => this.open() })
    this.button = make('button', { type: 'button', textContent: words.record, onclick: () => this.toggle() })
    this.clock = make('output', { textContent: '0:00' })
    this.closer = make('button', { type: 'button', textContent: words.close, onclick: () => this.close() })
    this.line = make('p')
    this.footer = make('footer')
    this.footer.append(this.button, this.clock, this.closer)
    this.element.append(
      make('style', { textContent: STYLE }),
      this.opener,
      this.video,
      this.cameras,
      this.footer,
      this.line
    )
    // Neither a click nor the wheel inside is meant for the canvas.
    for (const event of ['pointerdown', 'wheel']) {
      this.element.addEventListener(event, (given) => given.stopPropagation())
    }
    const height = () => this.height
    this.height = FOLDED
    this.widget = node.addDOMWidget(NAME, 'LPV2V_RECORDER', this.element, {
      serialize: false,
      hideOnZoom: true,
      margin: 4,
      getValue: () => '',
      setValue: () => {},
      getMinHeight: height,
      getMaxHeight: height
    })
    this.widget.serialize = false
    const removed = node.onRemoved
    node.onRemoved = (...given) => {
      this.release()
      return removed?.apply(node, given)
    }
    this.show(false)
  }

  // Unfold or fold: the node grows, and has its own height again afterwards.
  show(open) {
    this.opener.hidden = open
    for (const part of [this.video, this.footer]) part.hidden = !open
    this.cameras.hidden = !open || this.cameras.length < 2
    this.line.hidden = !this.line.textContent
    const folded = FOLDED + (this.line.hidden ? 0 : 46)
    this.height = open ? OPEN + (this.cameras.hidden ? 0 : 30) : folded
    const [width, height] = this.node.size
    if (open) this.before ??= height
    const wanted = open ? this.node.computeSize()[1] : (this.before ?? height) + folded - FOLDED
    if (!open) this.before = undefined
    this.node.setSize([width, Math.max(open ? height : 0, wanted)])
    this.node.setDirtyCanvas(true, true)
  }

  say(text, isError = false) {
    this.line.textContent = text
    this.line.dataset.error = isError
    this.line.hidden = !text
  }

  async open() {
    const words = inLanguage(WORDS)
    const asked = this.cameras.value
    this.release()
    this.say(words.opening)
    this.button.disabled = true
    this.show(true)
    const turn = (this.turn = {})
    try {
      if (!window.MediaRecorder) throw new DOMException('', 'unable')
      const stream = await openCamera(asked)
      if (turn !== this.turn) return stop(stream)
      this.stream = stream
      // What was recorded until then is saved.
      stream.getVideoTracks()[0].onended = () => (this.recorder ? this.recorder.stop() : this.fail(words.gone))
      this.video.srcObject = stream
      await this.list(stream)
      this.button.disabled = false
      this.say(stream.getAudioTracks().length ? words.ready : words.mute)
      this.show(true)
    } catch (error) {
      if (turn === this.turn) this.fail(words[ERRORS[error.name] ?? error.name] ?? error.message)
    }
  }

  // Offer the cameras by name, where there are several.
  async list(stream) {
    const used = stream.getVideoTracks()[0].getSettings().deviceId
    const found = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === 'videoinput')
    this.cameras.replaceChildren(
      ...found.map(({ deviceId, label }) => make('option', { value: deviceId, textContent: label }))
    )
    this.cameras.value = used
  }

  toggle() {
    if (this.recorder) this.recorder.stop()
    else this.record()
  }

  record() {
    const words = inLanguage(WORDS)
    const mimeType = FORMATS.find((type) => MediaRecorder.isTypeSupported(type))
    const parts = []
    this.recorder = new MediaRecorder(this.stream, { mimeType, ...BITS_PER_SECOND })
    this.recorder.ondataavailable = ({ data }) => parts.push(data)
    this.recorder.onstop = () => this.save(new Blob(parts, { type: this.recorder.mimeType }))
    this.recorder.start()
    const began = performance.now()
    this.timer = setInterval(() => {
      const seconds = Math.floor((performance.now() - began) / 1000)
      this.clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
    }, 200)
    this.button.textContent = words.stop
    this.button.dataset.recording = true
    this.cameras.disabled = this.closer.disabled = true
    this.say('')
  }

  async save(blob) {
    const words = inLanguage(WORDS)
    this.release()
    this.button.disabled = true
    if (!blob.size) return this.fail(words.empty)
    const name = fileName(blob.type)
    this.say(words.saving)
    try {
      choose(this.node, await save(blob, name))
    } catch (error) {
      this.fail(error instanceof TypeError ? words.failed(error.message) : error.message)
      const kept = make('a', { href: URL.createObjectURL(blob), download: name, textContent: words.keep })
      this.line.append(' ', kept)
      return
    }
    this.close()
  }

  close() {
    this.release()
    this.say('')
    this.show(false)
  }

  fail(text) {
    this.release()
    this.say(text, true)
    this.show(false)
  }

  // Give the camera back, and leave the recorder as it was before.
  release() {
    this.turn = undefined
    clearInterval(this.timer)
    if (this.recorder) this.recorder.onstop = null
    this.recorder = undefined
    stop(this.stream)
    this.stream = this.video.srcObject = null
    const words = inLanguage(WORDS)
    this.clock.textContent = '0:00'
    this.button.textContent = words.record
    this.button.dataset.recording = false
    this.button.disabled = this.cameras.disabled = this.closer.disabled = false
  }
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null
    track.stop()
  }
}

app.registerExtension({
  name: 'LivePortraitV2V.Recorder',
  nodeCreated(node) {
    if (node.comfyClass === 'LPV2V_LoadVideo') new Recorder(node)
  }
})
