/* Decoding with the browser's own decoders, as near to the file's numbers as they let us. */
import {InputError} from "./errors.js";

/*
 * {width, height, readRows, close}: a file's upright pixels.
 *
 * EXIF orientation is applied, colour profiles are not, as in scarlet_tf/data/decoding.py. `isTransparent` becomes true
 * when a pixel was read that is not opaque: a canvas keeps such pixels' colours only roughly.
 */
export async function decodeImage(file) {
  const options = {imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none"};
  const bitmap = await createImageBitmap(file, options).catch((error) => {
    throw new InputError("is neither a .tflite file nor an image that this browser can decode", {cause: error});
  });
  const canvas = document.createElement("canvas");
  const image = {width: bitmap.width, height: bitmap.height, isTransparent: false, readRows, close: () => bitmap.close()};

  function readRows(left, top, width, rows) {
    [canvas.width, canvas.height] = [width, rows];
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(bitmap, left, top, width, rows, 0, 0, width, rows);
    const {data} = context.getImageData(0, 0, width, rows);
    for (let alpha = 3; alpha < data.length && !image.isTransparent; alpha += 4) image.isTransparent = data[alpha] < 255;
    return data;
  }

  return image;
}
