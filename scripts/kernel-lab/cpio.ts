/** One entry of an initial RAM disk. A path ending in `/` is a directory. */
export interface CpioEntry {
  readonly path: string;
  readonly content?: Uint8Array;
  readonly executable?: boolean;
}

const DIRECTORY = 0o040755;
const PROGRAM = 0o100755;
const FILE = 0o100644;

/** Packs entries into the "newc" archive that the kernel unpacks at start (kernel `driver-api/early-userspace/buffer-format.rst`). */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) => record(entry, index + 1));
  return Buffer.concat([...parts, ...record({ path: 'TRAILER!!!' }, 0)]);
}

function record({ path, content = new Uint8Array(), executable = false }: CpioEntry, inode: number): Uint8Array[] {
  const isDirectory = path.endsWith('/');
  const name = `${isDirectory ? path.slice(0, -1) : path}\0`;
  const mode = isDirectory ? DIRECTORY : executable ? PROGRAM : FILE;
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, Buffer.byteLength(name), 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}`;
  return [padded(Buffer.from(header)), padded(content)];
}

/** Header with name, and content, each end on a multiple of four bytes. */
function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array(-bytes.length & 3)]);
}
