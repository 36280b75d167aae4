import { basename } from 'node:path';

/** Module files below `/lib/modules/VERSION`, each with the files it needs, as `depmod(8)` wrote them into `modules.dep`. */
export type ModuleIndex = ReadonlyMap<string, { readonly file: string; readonly needs: readonly string[] }>;

/** Reads `modules.dep`; the key is the module's name as `modprobe` takes it. */
export function parseModulesDep(text: string): ModuleIndex {
  const rows = text.split('\n').flatMap((line) => {
    const [file, needs] = line.split(':');
    if (file === undefined || needs === undefined) return [];
    return [[moduleName(file), { file, needs: needs.split(' ').filter((need) => need !== '') }] as const];
  });
  return new Map(rows);
}

/** `kernel/net/9p/9pnet_virtio.ko.xz` → `9pnet_virtio` */
function moduleName(file: string): string {
  return basename(file)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/**
 * The files to load for `names`, in an order in which `insmod` accepts them: each after all that it needs.
 * `modules.dep` lists a module's needs completely, the deepest last.
 * A name that `modules.dep` does not have is left out: `missing` tells, the kernel may have it built in.
 */
export function loadOrder(
  index: ModuleIndex,
  names: readonly string[],
): { readonly files: readonly string[]; readonly missing: readonly string[] } {
  const files = new Set<string>();
  for (const name of names) {
    const module = index.get(name);
    if (module === undefined) continue;
    for (const file of [...module.needs.toReversed(), module.file]) files.add(file);
  }
  return { files: [...files], missing: names.filter((name) => !index.has(name)) };
}
