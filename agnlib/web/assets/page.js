"use strict";

// What is chosen goes to the worker as soon as it is idle; what changes meanwhile is painted next, and only the newest.

const LIVE_SIDE = 320; // longer side of the webcam's frames
const STYLE_PIXELS = 4_000_000; // larger style pictures are reduced to so many before they are read
const $ = (id) => document.getElementById(id);

const wish = { photo: null, style: null }; // photo: {source, name, number}; style: {code, name}
const sent = new Map(); // answers that are waited for, by number
let worker, number = 0, busy = false, again = false, live = null;

// -- the worker

function startWorker() {
  const base = new URL(".", location.href).href;
  const start = new Blob([`import ${JSON.stringify(`${base}worker.js`)};`], { type: "text/javascript" });
  worker = new Worker(URL.createObjectURL(start), { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.loaded !== undefined) return loading(data.loaded);
    const { resolve, reject } = sent.get(data.id);
    sent.delete(data.id);
    return data.error === undefined ? resolve(data.answer) : reject(new Error(data.error));
  };
  worker.onerror = (event) => {
    for (const { reject } of sent.values()) reject(new Error(event.message || "the worker could not be started"));
    sent.clear();
  };
  return base;
}

function ask(kind, request, moved = []) {
  number += 1;
  worker.postMessage({ kind, id: number, ...request }, moved);
  const id = number;
  return new Promise((resolve, reject) => sent.set(id, { resolve, reject }));
}

// -- what is said

function say(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function loading(share) {
  $("loading").hidden = share >= 1;
  $("loading").value = share;
  if (share < 1) say(`Loading the networks: ${Math.floor(share * 100)}%`);
}

// -- pictures

async function opened(blob, name) {
  try {
    return await createImageBitmap(blob);
  } catch {
    throw new Error(`“${name}” is no picture that this browser can read. Choose a JPEG, PNG or WebP file.`);
  }
}

// The pixels of a picture, video or canvas, made smaller until its longer side, or all of it, fits.
function pixelsOf(source, { longer = Infinity, count = Infinity }) {
  const width = source.videoWidth || source.width, height = source.videoHeight || source.height;
  const scale = Math.min(1, longer / Math.max(width, height), Math.sqrt(count / (width * height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function takePhoto(blob, name) {
  complain("");
  try {
    const source = await opened(blob, name);
    stopCamera();
    choosePhoto(source, name);
  } catch (error) {
    complain(error.message);
  }
}

function choosePhoto(source, name) {
  wish.photo = { source, name, number: (wish.photo?.number || 0) + 1 };
  $("photo-name").textContent = name;
  paint();
}

async function takeStyle(blob, name) {
  complain("");
  try {
    const { data, width, height } = pixelsOf(await opened(blob, name), { count: STYLE_PIXELS });
    say(`Reading the style of “${name}”.`);
    const { code } = await ask("read", { pixels: data, width, height }, [data.buffer]);
    for (const each of document.querySelectorAll("#styles input")) each.checked = false;
    chooseStyle(code, name);
    $("style-name").textContent = name;
  } catch (error) {
    complain(error.message);
  }
}

function chooseStyle(code, name) {
  wish.style = { code: Float32Array.from(code), name };
  paint();
}

// -- painting

async function paint() {
  if (!wish.photo || !wish.style) {
    say(wish.photo ? "Now choose a style." : wish.style ? "Now choose a photo." : "Choose a photo and a style.");
    return;
  }
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  $("frame").setAttribute("aria-busy", "true");
  if (!live) say("Painting.");
  try {
    do {
      again = false;
      await paintOnce();
    } while (again);
  } catch (error) {
    stopCamera();
    complain(`The picture could not be painted: ${error.message}. A smaller size may help.`);
    say("");
  }
  busy = false;
  $("frame").setAttribute("aria-busy", "false");
}

async function paintOnce() {
  const { photo, style } = wish;
  const strength = Number($("strength").value) / 100;
  const side = live ? LIVE_SIDE : Number($("size").value);
  const { data, width, height } = pixelsOf(photo.source, { longer: side });
  show($("original"), data, width, height);
  // of another size the photo's own code is another
  const request = { pixels: data, width, height, code: style.code, strength, photo: `${photo.number} at ${side}` };
  const found = await ask("paint", request, [data.buffer]);
  show($("painted"), found.pixels, width, height);
  $("painted").setAttribute("aria-label", `${photo.name}, painted in the style of ${style.name}`);
  $("painted").dataset.seconds = found.seconds.toFixed(3);
  $("painted").dataset.name = `${stem(photo.name)}-${stem(style.name)}.png`;
  $("empty").hidden = true;
  compare($("compare").getAttribute("aria-pressed") === "true");
  $("compare").disabled = $("download").disabled = false;
  if (!live) say(`Painted ${width} × ${height} pixels in ${found.seconds.toFixed(1)} s.`);
}

function show(canvas, pixels, width, height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

function compare(photo) {
  $("compare").setAttribute("aria-pressed", String(photo));
  $("original").hidden = !photo;
  $("painted").hidden = photo;
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-") || "picture";
}

function download() {
  $("painted").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = $("painted").dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

// -- the webcam

const REFUSED = {
  NotAllowedError: "The webcam was not allowed. Allow it for this page in the browser's settings.",
  NotFoundError: "No webcam was found.",
  NotReadableError: "The webcam is in use by another program.",
};

async function toggleCamera() {
  complain("");
  if (live) {
    stopCamera();
    paint();
    return;
  }
  if (!navigator.mediaDevices) {
    complain("The webcam needs a page from localhost or by https.");
    return;
  }
  try {
    live = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch (error) {
    complain(REFUSED[error.name] || `The webcam could not be opened: ${error.message}.`);
    return;
  }
  $("video").srcObject = live;
  await $("video").play();
  $("camera").textContent = "Take this picture";
  $("camera").setAttribute("aria-pressed", "true");
  say(wish.style ? "Painting what the webcam sees." : "Now choose a style.");
  frames();
}

async function frames() {
  while (live) {
    choosePhoto($("video"), "webcam");
    do await new Promise((resolve) => setTimeout(resolve, 30));
    while (live && busy);
  }
}

function stopCamera() {
  if (!live) return;
  const frame = document.createElement("canvas"), started = $("video").videoWidth > 0;
  if (started) {
    frame.width = $("video").videoWidth;
    frame.height = $("video").videoHeight;
    frame.getContext("2d").drawImage($("video"), 0, 0);
  }
  for (const track of live.getTracks()) track.stop();
  live = null;
  $("video").srcObject = null;
  $("camera").textContent = "Webcam";
  $("camera").setAttribute("aria-pressed", "false");
  if (started) wish.photo = { source: frame, name: "webcam", number: (wish.photo?.number || 0) + 1 };
}

// -- the page

function addStyles(styles) {
  for (const { name, title, picture, code } of styles) {
    const label = document.createElement("label"), input = document.createElement("input");
    label.className = "style";
    label.title = title;
    Object.assign(input, { type: "radio", name: "style", value: name });
    input.addEventListener("change", () => {
      $("style-name").textContent = "or drop one here";
      complain("");
      chooseStyle(code, name);
    });
    label.append(input);
    if (picture) label.append(Object.assign(new Image(), { src: picture, alt: "" }));
    label.append(name);
    $("styles").append(label);
  }
}

function acceptDrops(zone, take) {
  const over = (event, is) => {
    event.preventDefault();
    zone.classList.toggle("over", is);
  };
  zone.addEventListener("dragover", (event) => over(event, true));
  zone.addEventListener("dragleave", (event) => over(event, false));
  zone.addEventListener("drop", (event) => {
    over(event, false);
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name);
  });
}

function acceptFiles(input, take) {
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same file may be chosen again
    if (file) take(file, file.name);
  });
}

async function startPage() {
  if (location.protocol === "file:") {
    say("");
    complain("A browser runs this page only when it comes from a server. In its folder run: python -m http.server");
    return;
  }
  loading(0);
  const about = await (await fetch("page.json")).json();
  addStyles(about.styles);
  $("about").textContent = `Weights ${about.weights} (${about.license}), by agnlib ${about.agnlib}.`;
  const base = startWorker();
  const { by, threads } = await ask("start", { base, styleDim: about.style_dim });
  loading(1);
  document.body.dataset.by = by;
  $("about").textContent += ` Painted by ${by}${by === "WebGPU" ? "" : threads > 1 ? `, ${threads} threads` : ", one thread"}.`;
  for (const each of ["photo", "example", "camera", "style", "strength", "size"]) $(each).disabled = false;
  paint();
}

acceptFiles($("photo"), takePhoto);
acceptFiles($("style"), takeStyle);
acceptDrops($("photo-choice"), takePhoto);
acceptDrops($("style-choice"), takeStyle);
$("example").addEventListener("click", async () => takePhoto(await (await fetch("example.jpg")).blob(), "example.jpg"));
$("camera").addEventListener("click", toggleCamera);
$("compare").addEventListener("click", () => compare($("compare").getAttribute("aria-pressed") !== "true"));
$("download").addEventListener("click", download);
$("size").addEventListener("change", paint);
$("strength").addEventListener("input", () => {
  $("strength-value").textContent = `${$("strength").value}%`;
  paint();
});
startPage().catch((error) => {
  say("");
  complain(`The page could not be started: ${error.message}.`);
});
