// Reading arrays of .npz files as numpy writes them: a zip file with a .npy file for each array.

const ENTRY = 0x02014b50, END = 0x06054b50; // signatures of a zip file's directory
const TYPES = { "<f8": Float64Array, "<f4": Float32Array };

/** An array of numbers by its name, `{shape, at}`, with `at(...indices)`; null if there is none. */
export async function arrayOf(npz, name) {
  const bytes = await fileOf(npz, `${name}.npy`);
  if (!bytes) return null;
  const view = new DataView(bytes);
  const [begin, length] = view.getUint8(6) === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder().decode(new Uint8Array(bytes, begin, length));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter(text => text.trim()).map(Number);
  const type = header.match(/'descr': '([^']*)'/)[1];
  if (!TYPES[type]) throw new Error(`${name}: numbers of type ${type} cannot be read`);
  const values = new TYPES[type](bytes.slice(begin + length));
  const strides = stridesOf(shape, header.includes("'fortran_order': True"));
  return { shape, at: (...indices) => values[indices.reduce((sum, index, axis) => sum + index * strides[axis], 0)] };
}

function stridesOf(shape, first) {
  const strides = shape.map(() => 1), axes = [...shape.keys()];
  if (!first) axes.reverse(); // the last axis runs fastest
  axes.reduce((stride, axis) => {
    strides[axis] = stride;
    return stride * shape[axis];
  }, 1);
  return strides;
}

/** A file of a zip file, unpacked. */
async function fileOf(zip, wanted) {
  const view = new DataView(zip);
  let end = zip.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw new Error("this is not a zip file");
  let place = view.getUint32(end + 16, true);
  while (view.getUint32(place, true) === ENTRY) {
    const [name, extra, comment] = [28, 30, 32].map(offset => view.getUint16(place + offset, true));
    if (new TextDecoder().decode(new Uint8Array(zip, place + 46, name)) === wanted) return unpacked(zip, view, place);
    place += 46 + name + extra + comment;
  }
  return null;
}

async function unpacked(zip, view, place) {
  const local = view.getUint32(place + 42, true), size = view.getUint32(place + 20, true);
  const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const packed = zip.slice(begin, begin + size);
  if (view.getUint16(place + 10, true) === 0) return packed;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}
