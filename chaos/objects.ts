import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { must, RAVEN } from '../test/lab/harness.ts';

/** A Node or a Gateway as a person edits it; what is not named here stays as it is. */
export interface Manifest {
  readonly kind: Kind;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

export type Kind = 'Node' | 'Gateway';

/** The cluster's objects, as an administrator changes them. */
export interface Objects {
  edit(kind: Kind, name: string, change: (object: Manifest) => Manifest): Promise<void>;
  /** Nothing happens when it was removed before. */
  remove(kind: Kind, name: string): Promise<void>;
  /** Makes what was removed again, as it was; nothing happens when nothing was. */
  restore(kind: Kind, name: string): Promise<void>;
}

/** How objects are read and written, by store. */
interface Access {
  read(kind: Kind, name: string): Promise<Manifest>;
  write(object: Manifest): Promise<void>;
  delete(kind: Kind, name: string): Promise<void>;
  create(object: Manifest): Promise<void>;
}

/** @param lab its name */
export function objectsOf(lab: string, store: 'dir' | 'kube'): Objects {
  const access = store === 'kube' ? kubeAccess(lab) : dirAccess(`/run/raven-lab/${lab}/store`);
  const removed = new Map<string, Manifest>();
  return {
    edit: async (kind, name, change) => access.write(change(await access.read(kind, name))),
    async remove(kind, name) {
      if (removed.has(`${kind}/${name}`)) return;
      removed.set(`${kind}/${name}`, await access.read(kind, name));
      await access.delete(kind, name);
    },
    async restore(kind, name) {
      const object = removed.get(`${kind}/${name}`);
      if (object === undefined) return;
      await access.create(object);
      removed.delete(`${kind}/${name}`);
    },
  };
}

/** A label or an annotation with a value, or without one. Pure. */
export function withKey(object: Manifest, place: 'labels' | 'annotations', key: string, value: string | undefined): Manifest {
  const { [key]: _, ...rest } = object.metadata[place] ?? {};
  return { ...object, metadata: { ...object.metadata, [place]: value === undefined ? rest : { ...rest, [key]: value } } };
}

function dirAccess(folder: string): Access {
  const fileOf = (kind: Kind): string => join(folder, kind === 'Node' ? 'nodes.yaml' : 'gateways.yaml');
  const readAll = async (kind: Kind): Promise<Manifest[]> =>
    parseAllDocuments(await readFile(fileOf(kind), 'utf8')).map((each) => each.toJS() as Manifest);
  const update = async (kind: Kind, change: (all: readonly Manifest[]) => readonly Manifest[]): Promise<void> => {
    const text = change(await readAll(kind))
      .map((each) => stringify(each))
      .join('---\n');
    // In one step: nobody may see half a file.
    await writeFile(`${fileOf(kind)}.new`, text);
    await rename(`${fileOf(kind)}.new`, fileOf(kind));
  };
  return {
    async read(kind, name) {
      const found = (await readAll(kind)).find(({ metadata }) => metadata.name === name);
      if (found === undefined) throw new Error(`${fileOf(kind)} has no ${name}`);
      return found;
    },
    write: (object) => update(object.kind, (all) => all.map((each) => (each.metadata.name === object.metadata.name ? object : each))),
    delete: (kind, name) => update(kind, (all) => all.filter(({ metadata }) => metadata.name !== name)),
    create: (object) => update(object.kind, (all) => [...all, object]),
  };
}

function kubeAccess(lab: string): Access {
  const kubectl = (args: readonly string[], stdin?: string): Promise<string> =>
    must([RAVEN, 'lab', 'exec', 'control', '--name', lab, '--', 'kubectl', ...args], stdin);
  return {
    read: async (kind, name) => JSON.parse(await kubectl(['get', kind, name, '-o', 'json'])) as Manifest,
    // Without the version that was read: others write labels and annotations of the same object, and this one is to win.
    write: async (object) => void (await kubectl(['replace', '-f', '-'], JSON.stringify(asNew(object)))),
    delete: async (kind, name) => void (await kubectl(['delete', kind, name])),
    create: async (object) => void (await kubectl(['create', '-f', '-'], JSON.stringify(asNew(object)))),
  };
}

/** What the API server adds must not come back to it. */
function asNew(object: Manifest): object {
  const { resourceVersion: _version, uid: _uid, ...metadata } = object.metadata as Manifest['metadata'] & Record<string, unknown>;
  return { ...object, metadata };
}
