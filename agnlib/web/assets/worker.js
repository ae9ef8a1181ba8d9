// Runs the networks, off the page's own thread, one request after another.
// The page starts it from a blob, so that the page's Content-Security-Policy holds here too.

const SOUND = 3; // of 255 levels, by which WebGPU may differ from WebAssembly on a small picture
const TRIAL = { width: 256, height: 192 };
const BLEND_BELOW = 0.25; // of the strength: below, the photo itself is blended in

let ort, painter, reader, styleDim;
let own = { photo: null, code: null }; // the photo's own code, which weaker strengths begin at
let last = Promise.resolve();

self.onmessage = ({ data }) => {
  last = last.then(async () => {
    try {
      const { answer, moved = [] } = await WORK[data.kind](data);
      self.postMessage({ id: data.id, answer }, moved);
    } catch (error) {
      self.postMessage({ id: data.id, error: String((error && error.message) || error) });
    }
  });
};

const WORK = {
  async start({ base, styleDim: width }) {
    styleDim = width;
    const gpu = await adapter();
    const wasm = gpu ? "ort-wasm-simd-threaded.asyncify.wasm" : "ort-wasm-simd-threaded.wasm";
    const files = await fetched(base, ["network.onnx", "extractor.onnx", `runtime/${wasm}`]);
    ort = await import(`${base}runtime/${gpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"}`);
    ort.env.logLevel = "error";
    ort.env.wasm.wasmPaths = `${base}runtime/`;
    ort.env.wasm.wasmBinary = files[2];
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
    reader = await session(files[1], "wasm");
    painter = await session(files[0], "wasm");
    const onGpu = gpu && (await betterOnGpu(files[0]));
    painter = onGpu || painter;
    const threads = ort.env.wasm.numThreads;
    return { answer: { by: onGpu ? "WebGPU" : "WebAssembly", threads } };
  },

  async read({ pixels, width, height }) {
    const code = await codeOf(withoutAlpha(pixels), width, height);
    return { answer: { code }, moved: [code.buffer] };
  },

  async paint({ pixels, width, height, code, strength, photo }) {
    const begun = performance.now();
    if (strength > 0) {
      const rgb = withoutAlpha(pixels);
      const style = strength < 1 ? between(await ownCode(photo, rgb, width, height), code, strength) : code;
      const painted = await paintedBy(painter, rgb, width, height, style);
      blended(pixels, painted, Math.min(1, strength / BLEND_BELOW));
    }
    const answer = { pixels, width, height, seconds: (performance.now() - begun) / 1000 };
    return { answer, moved: [pixels.buffer] };
  },
};

// A graphics card; what a browser computes in its stead on the processor is slower than WebAssembly.
async function adapter() {
  try {
    const found = navigator.gpu ? await navigator.gpu.requestAdapter() : null;
    return found && !(found.info?.isFallbackAdapter || found.isFallbackAdapter) ? found : null;
  } catch {
    return null;
  }
}

// All files, telling the page which share of their bytes is there.
async function fetched(base, names) {
  const answers = await Promise.all(names.map((name) => fetch(base + name)));
  const missing = answers.findIndex((answer) => !answer.ok);
  if (missing >= 0) throw new Error(`${names[missing]} is missing in the page's folder (${answers[missing].status})`);
  const all = answers.reduce((sum, answer) => sum + Number(answer.headers.get("content-length") || 0), 0);
  let loaded = 0;
  return Promise.all(
    answers.map(async (answer) => {
      const parts = [];
      for (const stream = answer.body.getReader(); ; ) {
        const { done, value } = await stream.read();
        if (done) break;
        parts.push(value);
        loaded += value.length;
        self.postMessage({ loaded: all ? Math.min(1, loaded / all) : 0 });
      }
      return new Uint8Array(await new Blob(parts).arrayBuffer());
    }),
  );
}

function session(model, provider) {
  return ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
}

// The network on WebGPU, if there it paints what it paints on WebAssembly, and sooner.
async function betterOnGpu(model) {
  try {
    const onGpu = await session(model, "webgpu");
    await tried(onGpu); // compiles its shaders
    const [one, other] = [await tried(painter), await tried(onGpu)];
    const agrees = one.painted.every((value, place) => Math.abs(value - other.painted[place]) <= SOUND);
    return agrees && other.time < one.time ? onGpu : null;
  } catch {
    return null;
  }
}

async function tried(network) {
  const { width, height } = TRIAL;
  const rgb = Uint8Array.from({ length: 3 * width * height }, (_, place) => (place * 7919) % 256);
  const begun = performance.now();
  const painted = await paintedBy(network, rgb, width, height, new Float32Array(styleDim).fill(1));
  return { painted, time: performance.now() - begun };
}

async function paintedBy(network, rgb, width, height, style) {
  const image = new ort.Tensor("uint8", rgb, [1, height, width, 3]);
  const { painted } = await network.run({ image, style: new ort.Tensor("float32", style, [1, styleDim]) });
  return painted.getData ? painted.getData() : painted.data;
}

async function codeOf(rgb, width, height) {
  const { style } = await reader.run({ image: new ort.Tensor("uint8", rgb, [1, height, width, 3]) });
  return Float32Array.from(style.data);
}

async function ownCode(photo, rgb, width, height) {
  if (own.photo !== photo) own = { photo, code: await codeOf(rgb, width, height) };
  return own.code;
}

function between(from, to, share) {
  return from.map((value, place) => value + share * (to[place] - value));
}

function withoutAlpha(pixels) {
  const rgb = new Uint8Array((pixels.length / 4) * 3);
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    rgb[to] = pixels[from];
    rgb[to + 1] = pixels[from + 1];
    rgb[to + 2] = pixels[from + 2];
  }
  return rgb;
}

// The painting into the photo's pixels, whose alpha stays.
function blended(pixels, painted, share) {
  for (let to = 0, from = 0; to < pixels.length; to += 4, from += 3) {
    for (let channel = 0; channel < 3; channel += 1) {
      const value = pixels[to + channel];
      pixels[to + channel] = value + share * (painted[from + channel] - value);
    }
  }
}
