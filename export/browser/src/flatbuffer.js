/*
 * The part of the flatbuffer format that reading a model file takes (https://flatbuffers.dev/internals).
 *
 * A table begins with the distance to its vtable, whose entries tell where each field lies. References are distances
 * from where they are written. Reading past the end throws a RangeError, so a torn file is noticed.
 */
export class Table {
  /* view: a DataView of the whole file; position: where the table begins. */
  constructor(view, position) {
    this.view = view;
    this.position = position;
    this.vtable = position - view.getInt32(position, true);
    this.vtableBytes = view.getUint16(this.vtable, true);
  }

  static root(view) {
    return new Table(view, view.getUint32(0, true));
  }

  int8(field, absent = 0) {
    const position = this.#locate(field);
    return position === null ? absent : this.view.getInt8(position);
  }

  uint32(field, absent = 0) {
    const position = this.#locate(field);
    return position === null ? absent : this.view.getUint32(position, true);
  }

  string(field, absent = "") {
    const bytes = this.bytes(field);
    return bytes === null ? absent : new TextDecoder().decode(bytes);
  }

  /* A view of a vector of bytes, without copying; null without the field. */
  bytes(field) {
    const vector = this.#vector(field);
    if (vector === null) return null;
    if (vector.start + vector.length > this.view.byteLength) throw new RangeError("vector beyond the end of the file");
    return new Uint8Array(this.view.buffer, this.view.byteOffset + vector.start, vector.length);
  }

  int32s(field) {
    return this.#elements(field, (position) => this.view.getInt32(position, true));
  }

  tables(field) {
    return this.#elements(field, (position) => new Table(this.view, this.#follow(position)));
  }

  /* Vectors of elements of 4 bytes: numbers or references. Empty without the field. */
  #elements(field, read) {
    const {start, length} = this.#vector(field) ?? {start: 0, length: 0};
    const elements = [];
    for (let index = 0; index < length; index++) elements.push(read(start + 4 * index));
    return elements;
  }

  #vector(field) {
    const position = this.#locate(field);
    if (position === null) return null;
    const vector = this.#follow(position);
    return {start: vector + 4, length: this.view.getUint32(vector, true)};
  }

  #follow(position) {
    return position + this.view.getUint32(position, true);
  }

  #locate(field) {
    const entry = 4 + 2 * field;
    const offset = entry < this.vtableBytes ? this.view.getUint16(this.vtable + entry, true) : 0;
    return offset === 0 ? null : this.position + offset;
  }
}
