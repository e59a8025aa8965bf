/* Decoding with the browser's own decoders, as near to the file's numbers as they let us. */
import {InputError} from "./errors.js";
import {readOrientation, storedBox, turn} from "./orientation.js";

/*
 * {width, height, readRows, close}: a file's upright pixels.
 *
 * EXIF orientation is applied, by this page for all formats alike, colour profiles are not, as in
 * scarlet_tf/data/decoding.py. `isTransparent` becomes true when a pixel was read that is not opaque: a canvas keeps such
 * pixels' colours only roughly.
 */
export async function decodeImage(file) {
  const unreadable = (error) => {
    throw new InputError("is neither a .tflite file nor an image that this browser can decode", {cause: error});
  };
  const {orientation, bytes} = readOrientation(new Uint8Array(await file.arrayBuffer().catch(unreadable)));
  const options = {colorSpaceConversion: "none", premultiplyAlpha: "none"};
  const bitmap = await createImageBitmap(new Blob([bytes], {type: file.type}), options).catch(unreadable);
  const canvas = document.createElement("canvas");
  const [width, height] = orientation >= 5 ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  const image = {width, height, isTransparent: false, readRows, close: () => bitmap.close()};

  function readRows(left, top, width, rows) {
    const box = storedBox(orientation, bitmap, {left, top, width, height: rows});
    [canvas.width, canvas.height] = [box.width, box.height];
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(bitmap, box.left, box.top, box.width, box.height, 0, 0, box.width, box.height);
    const {data} = context.getImageData(0, 0, box.width, box.height);
    for (let alpha = 3; alpha < data.length && !image.isTransparent; alpha += 4) image.isTransparent = data[alpha] < 255;
    return turn(data, box.width, orientation);
  }

  return image;
}
