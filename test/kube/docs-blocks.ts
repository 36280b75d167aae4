import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKOUT } from './api-server.ts';

/** A page that people read, as far as it can be checked. */
export interface Page {
  /** Relative to the checkout. */
  readonly file: string;
  readonly blocks: readonly Block[];
  /** Lines of shell, as typed, without comments and prompts; from blocks of code, and from `code` in sentences when it has flags. */
  readonly commands: readonly Located[];
  /** Targets of links within the checkout. */
  readonly links: readonly Located[];
  /** What `#…` may name, as GitHub forms it from the headings. */
  readonly anchors: ReadonlySet<string>;
}

export interface Located {
  readonly line: number;
  readonly text: string;
}

/** What stands between two ```; `info` is what follows the first. */
export interface Block extends Located {
  readonly info: string;
}

/** README.md, CONTRIBUTING.md and everything below docs, by name. */
export function readPages(): Page[] {
  const below = readdirSync(join(CHECKOUT, 'docs'), { recursive: true, encoding: 'utf8' }).map((each) => `docs/${each}`);
  return ['CONTRIBUTING.md', 'README.md', ...below.filter((each) => each.endsWith('.md')).toSorted()].map((file) =>
    parsePage(file, readFileSync(join(CHECKOUT, file), 'utf8')),
  );
}

export function parsePage(file: string, text: string): Page {
  const { blocks, prose } = splitFences(text);
  const shell = blocks.filter(({ info }) => info === 'sh' || info === 'console');
  const indented = prose.filter((each) => /^ {4,}\S/.test(each.text));
  const sentences = prose.filter((each) => !indented.includes(each));
  return {
    file,
    blocks,
    commands: [
      ...shell.flatMap(linesOf).filter((each) => each.text.trim() !== ''),
      ...joinContinued(indented.map(({ line, text: typed }) => ({ line, text: withoutComment(typed) }))),
      ...sentences.flatMap(({ line, text: words }) =>
        [...words.matchAll(/`([^`]+ -[^`]+)`/g)].map(([, typed = '']) => ({ line, text: typed })),
      ),
    ],
    links: sentences.flatMap(({ line, text: words }) =>
      [...words.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => (/^[a-z]+:/.test(target) ? [] : [{ line, text: target }])),
    ),
    anchors: anchorsOf(sentences),
  };
}

/**
 * The words behind `raven` wherever a line of shell calls it: also as `bin/raven`, in quotes, and behind `--` of `kubectl exec`; not where another
 * program has it as an argument (`helm install raven`). Words in brackets, which documentation uses for what may be left out, count like the others.
 */
export function ravenCalls(command: string): string[][] {
  const calls = command.matchAll(/(?:^|[;&|('"]\s*|\s--\s+)(?:\S*\/)?raven((?: +[^\s;&|()<>]+)+)/g);
  return [...calls].map(([, words = '']) =>
    words
      .replaceAll(/[[\]"']/g, ' ')
      .trim()
      .split(/\s+/),
  );
}

function splitFences(text: string): { blocks: Block[]; prose: Located[] } {
  const blocks: Block[] = [];
  const prose: Located[] = [];
  let open: { info: string; line: number; lines: string[] } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^ {0,3}```(.*)$/.exec(line);
    if (open === undefined && fence !== null) open = { info: (fence[1] ?? '').trim(), line: index + 2, lines: [] };
    else if (open === undefined) prose.push({ line: index + 1, text: line });
    else if (fence === null) open.lines.push(line);
    else {
      blocks.push({ info: open.info, line: open.line, text: open.lines.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the block of line ${open.line - 1} never ends`);
  return { blocks, prose };
}

/** Of a console only what stands behind a prompt is typed. */
function linesOf({ info, line, text }: Block): Located[] {
  const lines = text.split('\n').map((each, index) => ({ line: line + index, text: each }));
  const typed = info === 'console' ? lines.filter((each) => /^[$#] /.test(each.text)) : lines;
  return joinContinued(typed.map((each) => ({ ...each, text: withoutComment(info === 'console' ? each.text.slice(2) : each.text) })));
}

function withoutComment(text: string): string {
  return text.replace(/(^|\s)#.*$/, '').trim();
}

/** A backslash at the end goes on in the next line. */
function joinContinued(lines: readonly Located[]): Located[] {
  const joined: Located[] = [];
  let isOpen = false;
  for (const { line, text } of lines) {
    const last = joined.at(-1);
    const words = text.replace(/\\$/, '').trim();
    if (isOpen && last !== undefined) joined[joined.length - 1] = { ...last, text: `${last.text} ${words}` };
    else joined.push({ line, text: words });
    isOpen = text.endsWith('\\');
  }
  return joined;
}

/** Lower case, spaces to hyphens, everything else but letters, digits and `_` left out; a second one of the same name ends in `-1`. */
function anchorsOf(prose: readonly Located[]): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const { text } of prose) {
    const title = /^#{1,6} +(.*)$/.exec(text)?.[1];
    if (title === undefined) continue;
    const slug = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-');
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}
