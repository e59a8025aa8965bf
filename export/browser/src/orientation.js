/*
 * EXIF orientation of JPEG, PNG and WebP files, read from the bytes; the same as scarlet_tf/data/decoding.py.
 *
 * Browsers differ in which of them they turn. So the page takes EXIF out of what a browser decodes, and turns the pixels itself.
 */
const MOST_PARTS = 2 ** 14;
const TAG = 0x0112;
const [SHORT, LONG] = [3, 4];

/* {orientation: 1 to 8, bytes: the file without the EXIF that a decoder may heed}. */
export function readOrientation(bytes) {
  const exif = findExif(bytes);
  if (exif.length === 0) return {orientation: 1, bytes};
  const [first] = exif;
  return {orientation: orientationOf(bytes.subarray(first.begin, first.end)), bytes: without(bytes, exif)};
}

/* {left, top, width, height} in the file of that box of the upright image; size: {width, height} in the file. */
export function storedBox(orientation, size, {left, top, width, height}) {
  if (orientation >= 5) [left, top, width, height] = [top, left, height, width];
  const [rows, columns] = storedFlips(orientation);
  return {left: columns ? size.width - left - width : left, top: rows ? size.height - top - height : top, width, height};
}

/* RGBA bytes of a box that is `width` pixels wide as stored, turned upright. */
export function turn(pixels, width, orientation) {
  if (orientation === 1) return pixels;
  const height = pixels.length / 4 / width;
  const from = new Uint32Array(pixels.buffer, pixels.byteOffset, width * height);
  const to = new Uint32Array(from.length);
  const [rows, columns] = storedFlips(orientation);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [row, column] = [rows ? height - 1 - y : y, columns ? width - 1 - x : x];
      to[orientation >= 5 ? column * height + row : row * width + column] = from[y * width + x];
    }
  }
  return new Uint8ClampedArray(to.buffer);
}

/* [rows, columns] that are reversed, before transposing. */
function storedFlips(orientation) {
  return [[3, 4, 6, 7].includes(orientation), [2, 3, 7, 8].includes(orientation)];
}

/* {begin, end} of each EXIF block's content, and {from, to} of the part that holds it; the first one counts. */
function findExif(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (startsWith(bytes, 0, "\xff\xd8\xff")) return findParts(view, 2, readSegment);
  if (startsWith(bytes, 0, "\x89PNG\r\n\x1a\n")) return findParts(view, 8, readPngChunk);
  const isWebp = startsWith(bytes, 0, "RIFF") && startsWith(bytes, 8, "WEBPVP8X");
  return isWebp && bytes[20] & 8 ? findParts(view, 12, readWebpChunk) : [];
}

function findParts(view, position, read) {
  const found = [];
  for (let count = 0; count < MOST_PARTS && position <= view.byteLength - 10; count++) {
    const {next, exif} = read(view, position);
    if (exif) found.push({...exif, end: Math.min(exif.end, view.byteLength), from: position, to: Math.min(next, view.byteLength)});
    position = next;
  }
  return found;
}

function readSegment(view, position) {
  const marker = view.getUint16(position);
  if (marker === 0xffda) return {next: view.byteLength};
  // Bytes between the segments, such as the 0xff that may fill them up, are passed over.
  if (marker <= 0xff00 || marker === 0xffff) return {next: position + 1};
  const next = position + 2 + view.getUint16(position + 2);
  const isExif = marker === 0xffe1 && startsWith(bytesOf(view), position + 4, "Exif\0\0");
  return isExif ? {next, exif: {begin: position + 4, end: Math.max(next, position + 4)}} : {next};
}

function readPngChunk(view, position) {
  const end = position + 8 + view.getUint32(position);
  if (startsWith(bytesOf(view), position + 4, "IEND")) return {next: view.byteLength};
  const isExif = startsWith(bytesOf(view), position + 4, "eXIf");
  return isExif ? {next: end + 4, exif: {begin: position + 8, end}} : {next: end + 4};
}

function readWebpChunk(view, position) {
  const size = view.getUint32(position + 4, true);
  const end = position + 8 + size;
  const isExif = startsWith(bytesOf(view), position, "EXIF");
  return isExif ? {next: end + (size % 2), exif: {begin: position + 8, end}} : {next: end + (size % 2)};
}

/* Tag 0x0112 of the first directory, a single SHORT or LONG from 1 to 8; 1 where it cannot be read. */
function orientationOf(exif) {
  let start = 0;
  while (startsWith(exif, start, "Exif\0\0")) start += 6;
  const little = startsWith(exif, start, "II*\0");
  if (!little && !startsWith(exif, start, "MM\0*")) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset + start, exif.length - start);
  try {
    const directory = view.getUint32(4, little);
    const entries = view.getUint16(directory, little);
    for (let entry = directory + 2; entry < directory + 2 + 12 * entries; entry += 12) {
      view.getUint32(entry + 8, little); // an entry that is cut off does not count
      if (view.getUint16(entry, little) !== TAG) continue;
      const kind = view.getUint16(entry + 2, little);
      const value = kind === SHORT ? view.getUint16(entry + 8, little) : kind === LONG ? view.getUint32(entry + 8, little) : 0;
      return view.getUint32(entry + 4, little) === 1 && value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut off
  }
  return 1;
}

/* The file without those parts; in WebP, whose header states its size, they get a name that means nothing. */
function without(bytes, parts) {
  if (startsWith(bytes, 0, "RIFF")) {
    const copy = bytes.slice();
    copy[20] &= ~8;
    for (const {from} of parts) copy.fill(0x78, from, from + 4);
    return copy;
  }
  const kept = [];
  let position = 0;
  for (const {from, to} of parts) {
    kept.push(bytes.subarray(position, from));
    position = to;
  }
  kept.push(bytes.subarray(position));
  const copy = new Uint8Array(kept.reduce((sum, part) => sum + part.length, 0));
  kept.reduce((start, part) => (copy.set(part, start), start + part.length), 0);
  return copy;
}

function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function startsWith(bytes, position, text) {
  return Array.from(text).every((character, index) => bytes[position + index] === character.charCodeAt(0));
}
