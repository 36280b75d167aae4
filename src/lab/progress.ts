import type { WriteStream } from 'node:tty';

/** Steps of a longer work, as a person likes to watch them: a tick, what was done, and how long it took. */
export interface Progress {
  /** Runs a step; `describe` words its result. */
  step<T>(label: string, work: () => Promise<T>, describe?: (result: T) => string): Promise<T>;
  /** Shows how a running step gets on; on terminals only. */
  update(detail: string): void;
  line(text: string): void;
}

type Output = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'hasColors' | 'columns'>>;

const LABEL_WIDTH = 58;
const CLEAR_LINE = '\r\u001B[2K';

export function createProgress(output: Output): Progress {
  const isTerminal = output.isTTY === true;
  // hasColors knows NO_COLOR.
  const colour = isTerminal && output.hasColors?.(16) === true;
  const paint = (code: number, text: string): string => (colour ? `\u001B[${code}m${text}\u001B[0m` : text);
  let running = '';

  return {
    async step(label, work, describe) {
      running = label;
      if (isTerminal) output.write(`  ${paint(2, '·')} ${label} …`);
      const begin = performance.now();
      try {
        const result = await work();
        finish(paint(32, '✓'), describe?.(result) ?? label, begin);
        return result;
      } catch (error) {
        finish(paint(31, '✗'), label, begin);
        throw error;
      } finally {
        running = '';
      }
    },
    update(detail) {
      if (!isTerminal || running === '') return;
      const text = `${running}: ${detail}`;
      const room = Math.max((output.columns ?? 80) - 6, 20);
      output.write(`${CLEAR_LINE}  ${paint(2, '·')} ${text.length > room ? `${text.slice(0, room - 1)}…` : text}`);
    },
    line: (text) => void output.write(`${text}\n`),
  };

  function finish(mark: string, text: string, begin: number): void {
    const seconds = `${((performance.now() - begin) / 1000).toFixed(1)} s`;
    output.write(`${isTerminal ? CLEAR_LINE : ''}  ${mark} ${text.padEnd(LABEL_WIDTH)} ${paint(2, seconds.padStart(7))}\n`);
  }
}
